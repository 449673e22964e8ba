"""A room's recorder, with the times at which its connection and its media came and went."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agent.credentials import Credentials
from agent.room.recorder_options import RecorderOptions
from agent.room.recording import RoomRecorder
from agent.room.subscription import SubscriptionPolicy
from agent.tokens import ParticipantTokenRequest, mint_participant_token
from media.clock import SteadyClock
from media.frames import Codec, EncodedFrame
from media.tap.events import RemoteParticipant
from media.tap.tap import TapOptions, TapState
from tests.integration.publishing import eventually


class WatchedRecorder(RoomRecorder):
    """Notes Unix times: of each change of the connection, of each track's announcement and of its frames."""

    states: list[tuple[float, TapState]]
    announced: dict[str, float]
    frames: dict[str, list[float]]
    video: set[str]

    def on_tap_state(self, state: TapState, reason: str) -> None:
        self.states.append((time.time(), state))
        super().on_tap_state(state, reason)

    def on_tap_participants(self, participants: dict[str, RemoteParticipant]) -> None:
        for participant in participants.values():
            for track in participant.tracks:
                self.announced.setdefault(track.sid, time.time())
        super().on_tap_participants(participants)

    def on_tap_frames(self, track_sid: str, frames: tuple[EncodedFrame, ...]) -> None:
        if frames[0].codec is not Codec.OPUS:
            self.video.add(track_sid)
        self.frames.setdefault(track_sid, []).extend([time.time()] * len(frames))
        super().on_tap_frames(track_sid, frames)

    def connected_after(self, at: float) -> float | None:
        """When the tap was connected again, first after `at`."""
        return next((when for when, state in self.states if when > at and state is TapState.CONNECTED), None)

    def video_after(self, at: float) -> list[float]:
        """When video frames came after `at`, of whatever track."""
        return sorted(when for sid in self.video for when in self.frames[sid] if when > at)

    async def more_video(self, count: int, *, after: float | None = None, timeout_s: float = 60) -> None:
        """Until `count` more video frames came."""
        at = time.time() if after is None else after
        await eventually(lambda: True if len(self.video_after(at)) >= count else None, timeout_s=timeout_s)


@asynccontextmanager
async def recording_room(
    server: Credentials,
    room: str,
    folder: Path,
    *,
    recording_id: str = "one",
    segment_duration_s: float = 2.0,
    part_duration_s: float = 0.5,
) -> AsyncIterator[WatchedRecorder]:
    """Recording everything in the room; closed at the end."""
    request = ParticipantTokenRequest(room, "recorder-tap", hidden=True, recorder=True, can_publish=False)
    recorder = WatchedRecorder(
        RecorderOptions(room, recording_id, folder, segment_duration_s, part_duration_s, SubscriptionPolicy(), None),
        TapOptions(server.url, lambda: mint_participant_token(server, request)),
        SteadyClock(),
        lambda _event: None,
    )
    recorder.states, recorder.announced, recorder.frames, recorder.video = [], {}, {}, set()
    await recorder.start()
    try:
        yield recorder
    finally:
        await recorder.aclose()
