"""Spans of requests for OpenTelemetry: sent nowhere unless the settings name an endpoint.

A span says how long what took, of which modality and how many items. Nothing that a client sent
stands in one: no words, no file, no key of an item, no path.
"""

import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from unibind.errors import PluginError
from unibind.service.stages import Stage
from unibind.settings import ServiceSettings

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

__all__ = ["Trace", "Traces", "open_traces"]

_TIMEOUT_S = 5
_NS = 1_000_000_000


class Trace:
    """The span of one request, from its head to the end of its answer.

    Args:
        tracer: What makes spans.
        span: That of the request.
    """

    def __init__(self, tracer: "Tracer", span: "Span") -> None:
        self._tracer = tracer
        self._span = span

    @property
    def parent(self) -> str:
        """W3C's ``traceparent`` of the span, by which others go on from it."""
        from opentelemetry.trace import set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier, set_span_in_context(self._span))
        return carrier["traceparent"]

    def end(
        self, stages: Sequence[Stage], *, name: str, status: int, code: str, told: dict[str, Any]
    ) -> None:
        """End the span.

        Args:
            stages: What took time in it; each becomes a span below.
            name: What was asked: method and route.
            status: HTTP status of the answer.
            code: Of the refusal, "" if there was none.
            told: Further attributes.
        """
        from opentelemetry.trace import Status, StatusCode, set_span_in_context

        below = set_span_in_context(self._span)
        offset_ns = time.time_ns() - time.monotonic_ns()
        for each in stages:
            span = self._tracer.start_span(
                each.name,
                context=below,
                start_time=offset_ns + int(each.began * _NS),
                attributes={"unibind.modality": each.modality, "unibind.items": each.n_items},
            )
            span.end(offset_ns + int(each.ended * _NS))
        self._span.update_name(name)
        self._span.set_attributes({"http.response.status_code": status, **told})
        if code:
            self._span.set_attribute("error.type", code)
        if status >= 500:
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


class Traces:
    """Sends spans to a collector, in the background; what it does not take is dropped.

    Args:
        settings: Of the deployment; they name the collector.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

        exporter = OTLPSpanExporter(
            endpoint=f"{str(settings.otlp_endpoint).rstrip('/')}/v1/traces", timeout=_TIMEOUT_S
        )
        self._provider = TracerProvider(
            resource=Resource.create(
                {"service.name": "unibind", "service.version": version("unibind")}
            ),
            sampler=ParentBasedTraceIdRatio(settings.trace_share),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("unibind")

    def begin(self, *, traceparent: str | None, tracestate: str | None) -> Trace:
        """Return the trace of a request that begins now.

        Args:
            traceparent: W3C's header, if the request had one; a malformed one counts as none.
            tracestate: W3C's other header.
        """
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        given = {"traceparent": traceparent, "tracestate": tracestate}
        carrier = {name: value for name, value in given.items() if value is not None}
        context = TraceContextTextMapPropagator().extract(carrier)
        return Trace(
            self._tracer, self._tracer.start_span("request", context=context, kind=SpanKind.SERVER)
        )

    def close(self) -> None:
        """Send what was not sent yet, and end."""
        self._provider.shutdown()


def open_traces(settings: ServiceSettings) -> Traces | None:
    """Return what sends spans, None if the settings name no endpoint: nothing is imported then.

    Raises:
        PluginError: They name one, and OpenTelemetry is not installed.
    """
    if settings.otlp_endpoint is None:
        return None
    try:
        return Traces(settings)
    except ImportError as error:
        raise PluginError(
            f"UNIBIND_SERVE_OTLP_ENDPOINT asks for traces, and {error.name} is not installed: "
            "pip install 'unibind[otel]', or unset it"
        ) from error
