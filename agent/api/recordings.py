"""Recordings: start, stop, list, look at, verify, delete."""

import asyncio
import time
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path

from agent.api.auth import Grant, GuardedRoute, needs
from agent.api.models import ChangeRecordingBody, StartRecordingBody
from agent.api.recording_files import check_continues, check_is_of, read_recording_for
from agent.api.service import Caller, Service
from agent.room.state import RecordingStatus
from agent.service.protocol import PauseRecording, ResumeRecording
from agent.service.retention import delete
from media.record.entries import RecordingState
from media.record.reader import RecordingSummary, RecordingView, TrackView, list_recordings
from media.record.recording_id import RECORDING_ID_PATTERN
from media.record.verify import VerificationReport, verify_recording

router = APIRouter(route_class=GuardedRoute, tags=["recordings"])

RecordingId = Annotated[str, Path(pattern=RECORDING_ID_PATTERN)]


@dataclass(frozen=True, slots=True)
class RecordedTrack:
    """A track of a recording. Times are seconds since the recording started; `samples` are frames or packets."""

    number: int
    track_sid: str
    name: str
    kind: str
    source: str
    codec: str
    participant_identity: str
    starts_at_s: float
    ends_at_s: float
    samples: int
    segments: int
    gaps: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class RecordingDetail:
    """A recording and its tracks. `started_at` and `ended_at` are Unix seconds; `ended_reason` says what ended it."""

    recording_id: str
    room: str
    room_sid: str
    state: RecordingState
    started_at: float
    ended_at: float | None
    duration_s: float
    tracks: tuple[RecordedTrack, ...]
    ended_reason: str


@router.post("/v1/rooms/{room}/recording", status_code=201, openapi_extra=needs(Grant.ROOM_RECORD))
async def start_recording(
    room: str, service: Service, body: StartRecordingBody | None = None
) -> RecordingStatus | None:
    """Record a room. It goes on, in the same recording, whatever happens to the room's process."""
    wanted = body or StartRecordingBody()
    if wanted.recording_id is not None:
        await asyncio.to_thread(check_continues, service.recordings_dir, wanted.recording_id, room)
    done = await service.rooms.start_recording(room, wanted.command())
    return service.folders.hidden(done.recording)


@router.patch("/v1/rooms/{room}/recording", openapi_extra=needs(Grant.ROOM_RECORD))
async def change_recording(room: str, body: ChangeRecordingBody, service: Service) -> RecordingStatus | None:
    """Change what is recorded, when recordings end and in which layers they are, also while one runs."""
    done = await service.rooms.command(room, body.command())
    return service.folders.hidden(done.recording)


@router.post("/v1/rooms/{room}/recording/pause", openapi_extra=needs(Grant.ROOM_RECORD))
async def pause_recording(room: str, service: Service) -> RecordingStatus | None:
    """Record nothing until it is resumed, in the same recording; its segments close and are handed off.

    What people say or send is left out too; who is there, and what they publish, is still told on the timeline.
    """
    done = await service.rooms.command(room, PauseRecording())
    return service.folders.hidden(done.recording)


@router.post("/v1/rooms/{room}/recording/resume", openapi_extra=needs(Grant.ROOM_RECORD))
async def resume_recording(room: str, service: Service) -> RecordingStatus | None:
    """Record again after a pause, video from its next sync sample on."""
    done = await service.rooms.command(room, ResumeRecording())
    return service.folders.hidden(done.recording)


@router.delete("/v1/rooms/{room}/recording", openapi_extra=needs(Grant.ROOM_RECORD))
async def stop_recording(room: str, service: Service) -> RecordingStatus | None:
    """Close a room's recording; the room stays joined."""
    done = await service.rooms.stop_recording(room)
    return service.folders.hidden(done.recording)


@router.get("/v1/recordings", openapi_extra=needs(Grant.ROOM_RECORD))
async def recordings(service: Service, caller: Caller) -> list[RecordingSummary]:
    """The recordings kept here of the rooms that the token is for, oldest first; damaged ones have a `problem`."""
    found = await asyncio.to_thread(list_recordings, service.recordings_dir)
    return [service.folders.hidden(item) for item in found if caller.covers_room(item.room)]


@router.get("/v1/recordings/{recording_id}", openapi_extra=needs(Grant.ROOM_RECORD))
async def recording(recording_id: RecordingId, service: Service, caller: Caller) -> RecordingDetail:
    """One recording, finished or not."""
    view = await asyncio.to_thread(read_recording_for, service.recordings_dir, recording_id, caller)
    return _detail(view)


@router.delete("/v1/recordings/{recording_id}", status_code=204, openapi_extra=needs(Grant.ROOM_RECORD))
async def delete_recording(recording_id: RecordingId, service: Service, caller: Caller) -> None:
    """Delete a recording for good, a damaged one too; exports made of it stay.

    Refused with `recording_conflict` while a room writes it or is to go on with it, and while an export has yet to read
    it. Who plays it meanwhile is told that it is not there any more.
    """
    await asyncio.to_thread(check_is_of, service.recordings_dir, recording_id, caller)
    root, recorded = service.recordings_dir, service.rooms.recorded_ids
    deletion = await asyncio.to_thread(delete, root, recording_id, recorded, service.exports, time.time())
    service.deletions.recording(deletion)


@router.post("/v1/recordings/{recording_id}/verify", openapi_extra=needs(Grant.ROOM_RECORD))
async def verify(recording_id: RecordingId, service: Service, caller: Caller) -> VerificationReport:
    """Check every segment against the journal: hash, samples, continuity. Reads the whole recording."""
    view = await asyncio.to_thread(read_recording_for, service.recordings_dir, recording_id, caller)
    return service.folders.hidden(await service.long_reads.run(lambda: verify_recording(view.path)))


def _detail(view: RecordingView) -> RecordingDetail:
    return RecordingDetail(
        recording_id=view.recording_id,
        room=view.room,
        room_sid=view.room_sid,
        state=view.state,
        started_at=view.started_at,
        ended_at=view.ended_at,
        duration_s=view.duration_s,
        tracks=tuple(_track(track) for track in view.tracks),
        ended_reason=view.ended_reason,
    )


def _track(track: TrackView) -> RecordedTrack:
    segments = track.segments
    return RecordedTrack(
        number=track.number,
        track_sid=track.descriptor.track_sid,
        name=track.descriptor.track_name,
        kind=track.descriptor.kind.value,
        source=track.descriptor.source,
        codec=track.descriptor.codec.value,
        participant_identity=track.descriptor.participant_identity,
        starts_at_s=track.media_time_s(segments[0].decode_time) if segments else 0.0,
        ends_at_s=track.media_time_s(segments[-1].end_decode_time) if segments else 0.0,
        samples=track.samples,
        segments=len(segments),
        gaps=len(track.gaps),
        size_bytes=sum(segment.size_bytes for segment in segments),
    )
