"""Recordings played while they go on: HLS straight from their segments, a part at a time.

Playlists, init segments and segments of a recording are read from its folder, so it does not matter which process
records, or whether one does. Only fMP4 can be played: H.264, AV1 and Opus.
"""

import asyncio
import contextlib
import re
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as PathParameter
from starlette.exceptions import HTTPException

from agent.api.auth import Grant, GuardedRoute, get_and_head, needs
from agent.api.errors import ServiceUnavailable
from agent.api.live_recordings import LiveRecording
from agent.api.models import Identity
from agent.api.recording_files import for_caller, not_found
from agent.api.service import ApiService, Caller, Service, service_of
from agent.tokens import ServiceGrants
from media.errors import LiveNotReady, RecordingNotFound
from media.package.live_playlist import LivePlaylist, PartHint
from media.package.live_program import LiveProgram, LiveTrackView, choose_program, live_programs, multivariant
from media.package.live_reader import LiveBytes, LiveView
from media.record.entries import RecordingState
from media.record.reader import recording_state
from media.record.recording_id import RECORDING_ID_PATTERN

router = APIRouter(route_class=GuardedRoute, tags=["live"])

PLAYLIST_TYPE = "application/vnd.apple.mpegurl"  # RFC 8216 section 4
INIT_TYPE = "video/mp4"
SEGMENT_TYPE = "video/iso.segment"

WINDOW_S = 60.0  # a live playlist reaches back so far: who was away for a moment finds where it was
HELD_TARGETS = 3  # a request for what is not there yet is held for so many target durations (draft 6.2.5.2)
IMMUTABLE = "private, max-age=3600, immutable"

RecordingId = Annotated[str, PathParameter(pattern=RECORDING_ID_PATTERN)]
Number = Annotated[int, PathParameter(ge=1, le=10**6)]
Participant = Annotated[Identity | None, Query(description="whose media; without it, of somebody who is there")]
Source = Annotated[Literal["camera", "screen_share"] | None, Query(description="camera or screen")]
AudioOnly = Annotated[bool, Query(description="the sound alone, for pictures that HLS does not carry")]
FromStart = Annotated[bool, Query(description="all of the recording instead of a window that slides")]
Sequence = Annotated[int | None, Query(alias="_HLS_msn", ge=0, description="answer when that segment is there")]
PartNumber = Annotated[int | None, Query(alias="_HLS_part", ge=0, description="or that part of it")]


@dataclass(frozen=True, slots=True)
class LiveTrack:
    """A track of a recording. `size_bytes` and `segments` are those that could be played; `ends_at_s` is media time."""

    number: int
    kind: str
    source: str
    codec: str
    width: int
    height: int
    playable: bool
    ended: bool
    segments: int
    ends_at_s: float | None


@dataclass(frozen=True, slots=True)
class LivePlayable:
    """What can be played of one participant now, at `url`. `problem` says why it cannot; `track` numbers or null.

    `ended`: nothing more of it comes (for now), as its tracks are gone; `ends_at_s`: media time of its newest media.
    """

    participant_identity: str
    source: str
    url: str
    video_track: int | None
    audio_track: int | None
    problem: str
    ended: bool
    ends_at_s: float


@dataclass(frozen=True, slots=True)
class LiveDetail:
    """A recording as far as it is on disk. `started_at`: Unix seconds. A change of tracks changes `programs`.

    `programs` has first who is still there; the first one is played where none is asked for.
    """

    recording_id: str
    room: str
    state: RecordingState
    started_at: float
    programs: tuple[LivePlayable, ...]
    tracks: tuple[LiveTrack, ...]


@router.get("/v1/recordings/{recording_id}/live", openapi_extra=needs(Grant.ROOM_RECORD))
async def live_recording(recording_id: RecordingId, service: Service, caller: Caller) -> LiveDetail:
    """What of a recording can be played while it goes on, and by which playlist."""
    _, view = await _recording(service, caller, recording_id)
    state = await asyncio.to_thread(recording_state, service.recordings_dir / recording_id, closed=view.complete)
    return LiveDetail(
        recording_id=recording_id,
        room=view.room,
        state=state,
        started_at=view.started_at,
        programs=tuple(_playable(recording_id, item) for item in live_programs(view.tracks, whole=view.complete)),
        tracks=tuple(_track(track) for track in view.tracks),
    )


def _answers(*types: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {name: {} for name in types}}}


_MULTIVARIANT = "/v1/recordings/{recording_id}/live/multivariant.m3u8"


@get_and_head(router, _MULTIVARIANT, "live_multivariant", Grant.ROOM_RECORD, _answers(PLAYLIST_TYPE))
async def live_multivariant(
    recording_id: RecordingId,
    request: Request,
    service: Service,
    caller: Caller,
    participant: Participant = None,
    source: Source = None,
    audio_only: AudioOnly = False,
    from_start: FromStart = False,
) -> Response:
    """What a player opens: a participant's picture and sound, as far as both go on now, or all that there was.

    A token given as `access_token` is passed on in the addresses that it names, for players that send no headers.
    """
    _, view = await _recording(service, caller, recording_id)
    programs = live_programs(view.tracks, whole=view.complete or from_start)
    program = choose_program(programs, participant, source)
    return _playlist(multivariant(program, _query(request, from_start=from_start), audio_only=audio_only).render())


_PLAYLIST = "/v1/recordings/{recording_id}/live/{track}/playlist.m3u8"


@get_and_head(router, _PLAYLIST, "live_playlist", Grant.ROOM_RECORD, _answers(PLAYLIST_TYPE))
async def live_playlist(
    recording_id: RecordingId,
    track: Number,
    request: Request,
    service: Service,
    caller: Caller,
    media_sequence: Sequence = None,
    part: PartNumber = None,
    from_start: FromStart = False,
) -> Response:
    """A track's segments and the parts of the newest ones. With `_HLS_msn` it is held until that one is there."""
    if part is not None and media_sequence is None:
        raise HTTPException(400, "_HLS_part needs _HLS_msn; give both, or none")
    found, view = await _recording(service, caller, recording_id)
    window_s, query = None if from_start else WINDOW_S, _query(request, from_start=False)
    options = service.live.settings.options(view, window_s=window_s, query=query)
    if media_sequence is not None:
        view = await _held(request, found, view, track, (media_sequence, part), from_start=from_start)
    return _playlist(_playlist_of(view, track, from_start=from_start).render(options))


_FILE = "/v1/recordings/{recording_id}/live/{track}/{name}"
_FILE_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {INIT_TYPE: {}, SEGMENT_TYPE: {}}},
    206: {"description": "The range asked for"},
    416: {"description": "The range lies behind the end"},
}
FileName = Annotated[str, PathParameter(pattern=r"^(\d{6,9}\.m4s|init-\d{1,6}\.mp4)$")]


@get_and_head(router, _FILE, "live_file", Grant.ROOM_RECORD, _FILE_ANSWERS)
async def live_file(
    recording_id: RecordingId, track: Number, name: FileName, request: Request, service: Service, caller: Caller
) -> Response:
    """An init segment, or a segment on the recording's media timeline, whole or by ranges, finished or not.

    A request for the part that the playlist's preload hint names is held until it is there.
    """
    found, view = await _recording(service, caller, recording_id)
    wanted = _range(request.headers.get("range"))
    view = await _hinted(request, found, view, track, PartHint(name, wanted[0] if wanted else 0))
    segments = view.track(track).segments
    if name.endswith(".mp4"):
        init = await found.init_segment(track, name)
        start, size_bytes = wanted or (0, None)
        data = init.data[start : None if size_bytes is None else start + size_bytes]
        return _bytes(replace(init, data=data, start=start), INIT_TYPE, ranged=wanted is not None, complete=True)
    media = await found.segment(track, name, *(wanted or (0, None)))
    complete = any(segment.uri == name and segment.complete for segment in segments)
    return _bytes(media, SEGMENT_TYPE, ranged=wanted is not None, complete=complete)


async def _recording(service: ApiService, caller: ServiceGrants, recording_id: str) -> tuple[LiveRecording, LiveView]:
    """The recording as it is now, if it is of a room that the caller's token is for."""
    path = service.recordings_dir / recording_id
    try:
        found, view = await service.live.open(path)
    except (RecordingNotFound, LiveNotReady) as error:
        raise await asyncio.to_thread(for_caller, error, path, caller) from error
    if not caller.covers_room(view.room):
        raise not_found(recording_id)
    return found, view


def _held_s(request: Request) -> float:
    """For how long a request waits for what is not there yet."""
    return HELD_TARGETS * service_of(request).live.settings.target_duration_s


def _is_ending(request: Request) -> bool:
    """Whether nothing is to be waited for any more: the service is ending, or its server is."""
    return service_of(request).rooms.draining or bool(request.app.state.closing)


async def _held(
    request: Request,
    found: LiveRecording,
    view: LiveView,
    track: int,
    wanted: tuple[int, int | None],
    *,
    from_start: bool,
) -> LiveView:
    """The view in which the segment or part `wanted` is there. Raises HTTPException, ServiceUnavailable."""

    def is_there(view: LiveView) -> bool:
        playlist = _playlist_of(view, track, from_start=from_start)
        return playlist.ended or playlist.contains(*wanted) or _is_ending(request)

    if _playlist_of(view, track, from_start=from_start).is_ahead(wanted[0]):
        raise HTTPException(400, f"segment {wanted[0]} is too far ahead; load the playlist without _HLS_msn")
    try:
        return await found.until(view, is_there, _held_s(request))
    except TimeoutError as error:
        message = f"track {track} had nothing new for {_held_s(request):.0f} s; it may be muted, try again"
        raise ServiceUnavailable("live_stalled", message) from error


async def _hinted(request: Request, found: LiveRecording, view: LiveView, track: int, wanted: PartHint) -> LiveView:
    """`view`, or where `wanted` is what comes next, the view in which it has come, or will not (draft 6.2.6)."""

    def is_there(view: LiveView) -> bool:
        return view.track(track).hint != wanted or _is_ending(request)

    with contextlib.suppress(TimeoutError):  # what is not there is said as for any other range
        return await found.until(view, is_there, _held_s(request))
    return view


def _playlist_of(view: LiveView, number: int, *, from_start: bool) -> LivePlaylist:
    """The playlist of a track. From its start on, a recording that nobody goes on with is over; who watches what goes
    on now waits for somebody who does.
    """
    track = view.track(number)
    if not track.playable:
        raise RecordingNotFound(f"track {track.number} is {track.descriptor.codec.value}, which HLS does not carry")
    playlist = LivePlaylist(track.segments, ended=track.ended, hint=track.hint)
    return playlist.over() if view.abandoned and from_start else playlist


def _query(request: Request, *, from_start: bool) -> str:
    """What goes behind the URIs of a playlist: the token, where it came that way, and how the tracks are told."""
    kept = {"access_token": token} if (token := request.query_params.get("access_token")) else {}
    query = urlencode({**kept, **({"from_start": "true"} if from_start else {})})
    return f"?{query}" if query else ""


def _playlist(text: str) -> Response:
    return Response(text, media_type=PLAYLIST_TYPE, headers={"Cache-Control": "private, no-store"})


_RANGE = re.compile(r"bytes=(\d{1,15})-(\d{0,15})")


def _range(header: str | None) -> tuple[int, int | None] | None:
    """Start and size of a single range; None for any other header, which RFC 9110 14.2 lets a server ignore."""
    match = _RANGE.fullmatch(header or "")
    if match is None:
        return None
    start, last = int(match[1]), int(match[2]) if match[2] else None
    if last is not None and last < start:
        return None
    return start, None if last is None else last - start + 1


def _bytes(found: LiveBytes, media_type: str, *, ranged: bool, complete: bool) -> Response:
    """`found`, as the range that was asked for, or as the whole. A file that grows must not be kept by caches."""
    headers = {"Accept-Ranges": "bytes", "Cache-Control": IMMUTABLE if complete else "private, no-store"}
    if not ranged:
        return Response(found.data, media_type=media_type, headers=headers)
    if found.start >= found.file_bytes:
        behind = {"Content-Range": f"bytes */{found.file_bytes}"}
        raise HTTPException(416, "the range lies behind the end; load the playlist again", headers=behind)
    last = found.start + len(found.data) - 1
    headers["Content-Range"] = f"bytes {found.start}-{last}/{found.file_bytes}"
    return Response(found.data, 206, media_type=media_type, headers=headers)


def _playable(recording_id: str, program: LiveProgram) -> LivePlayable:
    query = urlencode({"participant": program.participant_identity, "source": program.source})
    return LivePlayable(
        participant_identity=program.participant_identity,
        source=program.source,
        url=f"/v1/recordings/{recording_id}/live/multivariant.m3u8?{query}",
        video_track=program.video.number if program.video else None,
        audio_track=program.audio.number if program.audio else None,
        problem=program.problem,
        ended=program.ended,
        ends_at_s=program.end_s,
    )


def _track(track: LiveTrackView) -> LiveTrack:
    return LiveTrack(
        number=track.number,
        kind=track.descriptor.kind.value,
        source=track.descriptor.source,
        codec=track.descriptor.codec.value,
        width=track.init.width if track.init else 0,
        height=track.init.height if track.init else 0,
        playable=track.playable,
        ended=track.ended,
        segments=len(track.segments),
        ends_at_s=track.end_s,
    )
