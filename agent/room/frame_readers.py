"""Programs that read decoded media of others' tracks, each at its own pace."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import structlog

from agent.errors import InvalidSettings, TrackNotFound
from agent.room.consumer import FrameCallback, ReceivedAudio, ReceivedVideoFrame, consume
from agent.room.events import (
    ConnectionStateChanged,
    Disconnected,
    RoomEvent,
    TrackPublished,
    TrackSubscribed,
    TrackUnpublished,
    TrackUnsubscribed,
)
from agent.room.frames import AudioFrame, NewestPicture, SoundBacklog, VideoFrame
from agent.room.live_sound import CHANNELS, SAMPLE_RATES
from agent.room.session import RoomSession
from agent.room.state import ConnectionState, TrackState
from agent.room.subscriber import Subscriber
from agent.room.subscription import TrackKey
from agent.tasks import Tasks
from media.clock import SteadyClock
from quality.stats import TrackKind

F = TypeVar("F", VideoFrame, AudioFrame)

log = structlog.get_logger(__name__)

# Of a full reconnect, ours or its publisher's, tracks are told as gone at first, and there again a moment later.
GONE_S = 3.0


@dataclass(slots=True, eq=False)
class _Reading:
    """One who reads a track, which may come under another SID meanwhile."""

    track: TrackState
    take: FrameCallback
    sample_rate: int
    channels: int
    news: asyncio.Event = field(default_factory=asyncio.Event)
    consuming: asyncio.Task[None] | None = None
    keeping: dict[str, Callable[[], None]] = field(default_factory=dict)
    giving_up: asyncio.TimerHandle | None = None
    ended: bool = False

    def stop(self) -> None:
        """Nothing comes for now."""
        if self.consuming:
            self.consuming.cancel()
            self.consuming = None

    def is_there(self) -> None:
        """Its track is in the room, or again."""
        if self.giving_up:
            self.giving_up.cancel()
            self.giving_up = None

    def end(self) -> None:
        """Nothing more comes."""
        self.stop()
        self.is_there()
        self.ended = True
        self.news.set()


class FrameReaders:
    """Hands decoded media to whoever reads a track; it is subscribed to meanwhile, whatever the rules say.

    A track that is published again by the same participant, as the same source and name, is gone on with: where it is
    restarted, or after a reconnect.
    """

    def __init__(self, session: RoomSession, subscriber: Subscriber, clock: SteadyClock) -> None:
        self._session = session
        self._subscriber = subscriber
        self._clock = clock
        self._tasks = Tasks("frame_readers")
        self._readings: list[_Reading] = []
        self._closed = False
        session.before_leaving("frame_readers", self.aclose)
        session.add_listener(self._on_event)

    def video(self, track_sid: str) -> AsyncGenerator[VideoFrame, None]:
        """The newest picture, each time one is asked for. Raises as `RoomAgent.video_frames`."""
        track, waiting = self._readable(track_sid, TrackKind.VIDEO), NewestPicture()

        def take(media: ReceivedVideoFrame | ReceivedAudio) -> None:
            assert isinstance(media, ReceivedVideoFrame)
            waiting.push(media.track_sid, media.data, media.width, media.height, self._clock.now())
            reading.news.set()

        reading = _Reading(track, take, sample_rate=0, channels=0)
        return self._read(reading, waiting.pop)

    def audio(self, track_sid: str, sample_rate: int, channels: int) -> AsyncGenerator[AudioFrame, None]:
        """All sound since it was asked for last, up to ten seconds. Raises as `RoomAgent.audio_frames`."""
        if sample_rate not in SAMPLE_RATES or channels not in CHANNELS:
            raise InvalidSettings(
                f"sample_rate is {sample_rate} and channels {channels}; give a multiple of 100 from 8000 to 192000, "
                "and 1 or 2"
            )
        track, waiting = self._readable(track_sid, TrackKind.AUDIO), SoundBacklog(sample_rate, channels)
        slow = False

        def take(media: ReceivedVideoFrame | ReceivedAudio) -> None:
            nonlocal slow
            assert isinstance(media, ReceivedAudio)
            fits = waiting.push(media.track_sid, media.data, self._clock.now())
            if not fits and not slow:  # once: each frame says what it lacks
                log.warning("sound_not_taken", track=track.name, sid=media.track_sid)
                slow = True
            reading.news.set()

        reading = _Reading(track, take, sample_rate, channels)
        return self._read(reading, waiting.pop)

    def _readable(self, track_sid: str, kind: TrackKind) -> TrackState:
        track = self._session.track(track_sid)
        if track.kind != kind:
            raise InvalidSettings(f"track {track_sid!r} is {track.kind}; read it as {track.kind}_frames")
        if track.encrypted and not self._session.decrypts:
            raise InvalidSettings(
                f"track {track_sid!r} is encrypted end to end; join with the room's e2ee_key to read it"
            )
        self._session.permissions.require_subscribe()
        return track

    async def _read(self, reading: _Reading, pop: Callable[[], F | None]) -> AsyncGenerator[F, None]:
        try:
            self._begin(reading)
            while True:
                while (frame := pop()) is None:
                    if reading.ended:
                        return
                    reading.news.clear()
                    await reading.news.wait()
                yield frame
        finally:
            self._finish(reading)

    def _begin(self, reading: _Reading) -> None:
        if self._closed or self._session.connection is ConnectionState.DISCONNECTED:
            reading.end()
            return
        self._readings.append(reading)
        if self._session.connection is ConnectionState.CONNECTED:
            self._follow(reading)

    def _finish(self, reading: _Reading) -> None:
        reading.end()
        if reading in self._readings:
            self._readings.remove(reading)
            for end in reading.keeping.values():
                end()

    def _on_event(self, event: RoomEvent) -> None:
        match event:
            case TrackPublished(track=track):
                self._expect(track)
            case TrackSubscribed(track=track):
                for reading in self._of(track):
                    self._start(reading)
            case TrackUnsubscribed(track=track):
                for reading in self._of(track):
                    reading.stop()
            case TrackUnpublished(track=track):
                self._gone(track)
            case ConnectionStateChanged(state=ConnectionState.CONNECTED):
                for reading in tuple(self._readings):
                    self._follow(reading)
            case Disconnected():
                self._end_all()
            case _:
                pass

    def _of(self, track: TrackState) -> list[_Reading]:
        return [reading for reading in self._readings if reading.track.sid == track.sid]

    def _expect(self, track: TrackState) -> None:
        """It may be in the place of one that is read, and goes or is gone."""
        for reading in self._readings:
            if TrackKey.of(track) == TrackKey.of(reading.track):
                self._keep(reading, track)
                if reading.giving_up:
                    self._follow(reading)

    def _gone(self, track: TrackState) -> None:
        for reading in self._of(track):
            reading.stop()
            self._follow(reading)

    def _follow(self, reading: _Reading) -> None:
        """Read the track where it is there, or what is in its place; or give up where none comes."""
        same = [track for track in self._session.tracks if TrackKey.of(track) == TrackKey.of(reading.track)]
        track = next((track for track in same if track.sid == reading.track.sid), same[-1] if same else None)
        reading.is_there()
        if track is None:
            reading.giving_up = asyncio.get_running_loop().call_later(GONE_S, self._give_up, reading)
            return
        self._keep(reading, track)
        for sid in reading.keeping.keys() - {track.sid}:
            reading.keeping.pop(sid)()
        reading.track = track
        self._start(reading)

    def _give_up(self, reading: _Reading) -> None:
        if self._session.connection is ConnectionState.CONNECTED:  # else it is looked for once it is
            reading.end()

    def _keep(self, reading: _Reading, track: TrackState) -> None:
        if track.sid not in reading.keeping:
            reading.keeping[track.sid] = self._subscriber.keep(track.sid)

    def _start(self, reading: _Reading) -> None:
        reading.stop()
        try:
            sdk_track = self._subscriber.sdk_track(reading.track.sid)
        except TrackNotFound:
            return  # that it goes is told next
        if sdk_track is not None and not self._closed:
            consuming = consume(sdk_track, reading.take, sample_rate=reading.sample_rate, channels=reading.channels)
            reading.consuming = self._tasks.start(consuming, name=f"read.{reading.track.name}")

    def _end_all(self) -> None:
        for reading in self._readings:
            reading.end()
        self._readings.clear()  # nothing is to be asked of a room that is being left

    async def aclose(self) -> None:
        """End all reading; idempotent."""
        self._closed = True
        self._end_all()
        await self._tasks.aclose()
