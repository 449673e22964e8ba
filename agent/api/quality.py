"""How good recordings were: the report as JSON and as a page."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from fastapi.responses import HTMLResponse, JSONResponse

from agent.api.auth import Grant, GuardedRoute, get_and_head, needs
from agent.api.recording_files import read_recording_for
from agent.api.service import ApiService, Caller, Service
from agent.quality_report import report_json
from agent.tokens import ServiceGrants
from media.record.recording_id import RECORDING_ID_PATTERN
from quality.report import QualityReport
from quality.report_html import render

router = APIRouter(route_class=GuardedRoute, tags=["recordings"])

RecordingId = Annotated[str, Path(pattern=RECORDING_ID_PATTERN)]

PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",  # the token may be in the address
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, no-store",
}


_JSON_ANSWERS: dict[int | str, dict[str, Any]] = {200: {"model": QualityReport}}


@router.get("/v1/recordings/{recording_id}/quality", responses=_JSON_ANSWERS, openapi_extra=needs(Grant.ROOM_RECORD))
async def recording_quality(recording_id: RecordingId, service: Service, caller: Caller) -> Response:
    """How good a recording is, finished or not: per track, per participant, beside the server's own words."""
    # Of a day in a large room it has megabytes: too much for the event loop.
    return await service.long_reads.run(lambda: JSONResponse(report_json(_report(service, recording_id, caller))))


_PAGE = "/v1/recordings/{recording_id}/quality.html"
_PAGE_ANSWERS: dict[int | str, dict[str, Any]] = {200: {"content": {"text/html": {}}}}


@get_and_head(router, _PAGE, "quality_page", Grant.ROOM_RECORD, _PAGE_ANSWERS)
async def quality_page(recording_id: RecordingId, service: Service, caller: Caller) -> Response:
    """The report as a page of its own, without scripts. Browsers may send the token as `access_token`."""
    page = await service.long_reads.run(lambda: render(_report(service, recording_id, caller)))
    return HTMLResponse(page, headers=PAGE_HEADERS)


def _report(service: ApiService, recording_id: str, caller: ServiceGrants) -> QualityReport:
    return service.reports.read(read_recording_for(service.recordings_dir, recording_id, caller))
