"""The API against its own description, with inputs that schemathesis makes up."""

import tempfile
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.agent.api.fake_service import FakeService, bearer, fake_service, make_recording


def _api() -> FakeService:
    api = fake_service(Path(tempfile.mkdtemp(prefix="roomhand-schemathesis-")))
    make_recording(api, "rec-1", "lobby")
    return api


API = _api()
# The event stream never ends; test_api_events.py reads it.
SCHEMA = schemathesis.openapi.from_dict(API.app.openapi()).exclude(path="/v1/events")
SCHEMA.app = API.app


@SCHEMA.parametrize()
@settings(
    max_examples=10,
    phases=[Phase.explicit, Phase.generate],
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_as_described(case: Case[Any]) -> None:
    if "room" in case.path_parameters:
        case.path_parameters["room"] = "lobby"
    case.headers = {**case.headers, **bearer()}  # type: ignore[assignment]  # its setter takes any mapping
    response = case.call()
    assert response.status_code not in {401, 403}
    case.validate_response(
        response,
        checks=[
            not_a_server_error,
            status_code_conformance,
            content_type_conformance,
            response_schema_conformance,
        ],
    )
    if response.status_code >= 400 and case.method != "HEAD":
        assert set(response.json()) == {"error"}
