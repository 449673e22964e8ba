"""What a receiver without any fault gets of a room: which frames came, and when."""

import asyncio
import bisect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from agent.credentials import Credentials
from agent.tokens import ParticipantTokenRequest, mint_participant_token
from media.clock import SteadyClock
from media.frames import EncodedFrame, MediaKind
from media.tap.events import RemoteParticipant
from media.tap.tap import Tap, TapOptions, TapState

RTP_MODULUS = 1 << 32


@dataclass
class SeenTrack:
    """The frames of one track in the order in which they came: RTP timestamps (32 bit) and Unix times."""

    kind: MediaKind
    rtp_timestamps: list[int] = field(default_factory=list)
    arrival_times: list[float] = field(default_factory=list)

    def last_before(self, unix_time: float) -> int | None:
        """The RTP timestamp of the last frame that had come by then."""
        index = bisect.bisect_right(self.arrival_times, unix_time)
        return self.rtp_timestamps[index - 1] if index else None

    def first_after(self, unix_time: float) -> int | None:
        """The RTP timestamp of the first frame that came then or later."""
        index = bisect.bisect_left(self.arrival_times, unix_time)
        return self.rtp_timestamps[index] if index < len(self.rtp_timestamps) else None


class Observer:
    """A tap of its own that subscribes to everything and notes each frame; a `TapListener`."""

    def __init__(self) -> None:
        self.tracks: dict[str, SeenTrack] = {}
        self.states: list[TapState] = []
        self.tap: Tap | None = None
        self._changed = asyncio.Event()

    def on_tap_frames(self, track_sid: str, frames: tuple[EncodedFrame, ...]) -> None:
        for frame in frames:
            seen = self.tracks.setdefault(track_sid, SeenTrack(frame.codec.kind))
            seen.rtp_timestamps.append(frame.rtp_timestamp % RTP_MODULUS)
            seen.arrival_times.append(frame.arrival_time)

    def on_tap_participants(self, participants: dict[str, RemoteParticipant]) -> None:
        self._changed.set()

    def on_tap_state(self, state: TapState, reason: str) -> None:
        self.states.append(state)

    def on_tap_stream_state(self, track_sid: str, *, paused: bool) -> None:
        """Nothing to note: what does not come is seen."""

    def on_tap_refused(self, track_sid: str, reason: str) -> None:
        raise AssertionError(f"the server refused {track_sid}: {reason}")

    def on_tap_allowed(self, track_sid: str) -> None:
        pass

    async def subscribe_to_all(self) -> None:
        """Runs until cancelled."""
        assert self.tap is not None
        while True:
            for participant in self.tap.participants.values():
                for track in participant.tracks:
                    if track.sid not in self.tap.subscribed:
                        await self.tap.subscribe(track.sid)
            await self._changed.wait()
            self._changed.clear()


@asynccontextmanager
async def observing(server: Credentials, room: str) -> AsyncIterator[Observer]:
    """An observer in the room, gone at the end."""
    observer = Observer()
    request = ParticipantTokenRequest(room, "observer", hidden=True, recorder=True, can_publish=False)
    tap = observer.tap = Tap(
        TapOptions(server.url, lambda: mint_participant_token(server, request)), observer, SteadyClock()
    )
    await tap.start()
    following = asyncio.create_task(observer.subscribe_to_all(), name="observer.subscribe")
    try:
        yield observer
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await tap.aclose()
