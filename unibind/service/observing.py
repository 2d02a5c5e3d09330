"""What the service tells of itself: Prometheus metrics; none of it leaves the machine by itself."""

import contextlib
import time
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

from unibind.service.stages import Stage, note

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_ITEMS = (1, 2, 4, 8, 16, 32, 64)
_SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


class Metrics:
    """The metrics of one service, in a registry of their own.

    Attributes:
        requests: By route, method and status.
        seconds: From the head of a request to the end of its answer, by route.
        stage: By modality and stage: fetch, queue, decode, model and of it encode and head, search,
            store.
        batch: Items of a batch, by modality.
        waiting: Items that wait, by modality.
        cache: Looked-up embeddings, by result.
        rejections: By reason.
        confidence: Probability of the likeliest class, by modality.
        stored: Items in the store, by modality.
        decoder_deaths: Decoders that were replaced.
        model_failures: Batches that failed, by modality.
        ready: Whether the last check of readiness was well.
    """

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "unibind_requests", "Requests.", ["route", "method", "status"], registry=registry
        )
        self.seconds = Histogram(
            "unibind_request_seconds",
            "From the head of a request to the end of its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.stage = Histogram(
            "unibind_stage_seconds",
            "Seconds of one item's way.",
            ["modality", "stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.batch = Histogram(
            "unibind_batch_items",
            "Items that went through the model together.",
            ["modality"],
            buckets=_ITEMS,
            registry=registry,
        )
        self.waiting = Gauge(
            "unibind_waiting_items", "Items that wait.", ["modality"], registry=registry
        )
        self.cache = Counter(
            "unibind_cache", "Looked-up embeddings.", ["result"], registry=registry
        )
        self.rejections = Counter(
            "unibind_rejections", "Requests turned away.", ["reason"], registry=registry
        )
        self.confidence = Histogram(
            "unibind_confidence",
            "Probability of the likeliest class.",
            ["modality"],
            buckets=_SHARES,
            registry=registry,
        )
        self.stored = Gauge(
            "unibind_stored_items", "Items in the store.", ["modality"], registry=registry
        )
        self.decoder_deaths = Counter(
            "unibind_decoder_deaths", "Decoders that were replaced.", registry=registry
        )
        self.model_failures = Counter(
            "unibind_model_failures", "Batches that failed.", ["modality"], registry=registry
        )
        self.ready = Gauge("unibind_ready", "1 if the last check was well.", registry=registry)

    @contextlib.contextmanager
    def timed(self, modality: str, stage: str, *, n_items: int = 1) -> Iterator[None]:
        """Note how long what is done within takes: for the metrics, and for the request's trace."""
        began = time.monotonic()
        try:
            yield
        finally:
            ended = time.monotonic()
            self.stage.labels(modality, stage).observe(ended - began)
            note(Stage(stage, modality, began, ended, n_items))

    def observe_batch(
        self, modality: str, n_items: int, waited: Iterable[float], took: float
    ) -> None:
        """Note one batch."""
        self.batch.labels(modality).observe(n_items)
        self.stage.labels(modality, "model").observe(took)
        queue = self.stage.labels(modality, "queue")
        for seconds in waited:
            queue.observe(seconds)

    def text(self) -> bytes:
        """Return all of them in Prometheus's text format."""
        return generate_latest(self._registry)
