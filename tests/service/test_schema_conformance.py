"""schemathesis asks what the OpenAPI document allows, and more: no 5xx, no broken promise."""

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)


@schemathesis.serializer("application/x-ndjson")
def lines(_context, value):
    return value.encode() if isinstance(value, str) else value


SLOW = {"/v1/knowledge/{name}/findings", "/v1/alignments"}  # minutes of work, tried by name


def test_no_request_that_the_document_allows_breaks_a_promise(served):
    schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
    try:
        assert asked_of(schema) > 60
    finally:
        forget_all(served)


def forget_all(served):
    """Remove what was stored: others share the server."""
    with served.client() as client:
        for point in client.get("/v1/map?limit=5000").json()["points"]:
            client.delete("/v1/items/" + "".join(f"%{byte:02X}" for byte in point["key"].encode()))


def asked_of(schema) -> int:
    asked = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path in SLOW and operation.method.lower() in ("get", "post"):
            continue
        for case in _cases(operation):
            case.call_and_validate(checks=CHECKS, timeout=60)
            asked += 1
    return asked


def _cases(operation):
    """Return some cases of an operation, the same each time."""
    found = []

    @given(case=operation.as_strategy())
    @settings(
        max_examples=6,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def collect(case):
        found.append(case)

    collect()
    return found
