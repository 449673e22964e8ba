"""Tracks recorded the dear way: the participant's own subscription decodes them, and an encoder for each encodes again.

For rooms whose codecs the tap cannot take (`RecordingPlan.decoded`). What follows, the recording's files included, is
as for tracks that were never decoded.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable

import structlog
from av.error import FFmpegError

from agent.errors import TrackNotFound
from agent.room.consumer import ReceivedAudio, ReceivedVideoFrame
from agent.room.subscriber import Subscriber
from media.clock import SteadyClock
from media.frames import EncodedFrame
from media.process.live_encoder import (
    AUDIO_HZ,
    VIDEO_HZ,
    DecodedPicture,
    DecodedSound,
    LiveAudioEncoder,
    LiveVideoEncoder,
)
from media.rtp.clock_mapping import ClockMapper, RtpClockMapping
from media.rtp.minimum_offset import NtpOffset

log = structlog.get_logger(__name__)

QUEUED_PICTURES = 30  # a second; past it the encoder is too slow, and memory is not for waiting
QUEUED_SOUNDS = 300  # three seconds of 10 ms each
JOIN_TIMEOUT_S = 2.0

Deliver = Callable[[str, tuple[EncodedFrame, ...]], None]


class _TrackEncoder:
    """One track's encoder in a thread of its own; the newest is dropped where it falls behind."""

    def __init__(
        self, sid: str, kind: str, clock: SteadyClock, deliver: Callable[[tuple[EncodedFrame, ...]], None]
    ) -> None:
        self.sid = sid
        self.dropped = 0
        self._clock = clock
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        self._video = LiveVideoEncoder()
        self._audio = LiveAudioEncoder()
        size = QUEUED_PICTURES if kind == "video" else QUEUED_SOUNDS
        self._queue: queue.Queue[DecodedPicture | DecodedSound] = queue.Queue(size)
        self._broken = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"encode-{sid}", daemon=True)
        self._thread.start()

    def take(self, media: ReceivedVideoFrame | ReceivedAudio) -> None:
        """Encode what was decoded; in the event loop, never waiting."""
        now = self._clock.now()
        item: DecodedPicture | DecodedSound
        if isinstance(media, ReceivedVideoFrame):
            time_s = media.timestamp_us / 1e6
            # Pictures come a few milliseconds before they are to be shown, and the sound when it is to be heard.
            shown_at = now + time_s - time.monotonic()
            item = DecodedPicture(media.width, media.height, media.data, time_s, shown_at, discontinuity=self._broken)
        else:
            item = DecodedSound(media.data, now, discontinuity=self._broken)
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            if not self._broken:
                log.warning("recording_encoder_behind", sid=self.sid)
            self.dropped += 1
            self._broken = True
        else:
            self._broken = False

    def request_keyframe(self) -> None:
        """Make the next picture a sync sample."""
        self._video.request_keyframe()

    def end(self) -> None:
        """Take no more; what waits is encoded yet."""
        self._ended.set()

    @property
    def running(self) -> bool:
        """Whether something may still be encoded."""
        return self._thread.is_alive()

    def join(self) -> None:
        """Wait, a while, until all is encoded. Blocking."""
        self._thread.join(JOIN_TIMEOUT_S)

    def _run(self) -> None:
        while not (self._ended.is_set() and self._queue.empty()):
            try:
                item = self._queue.get(timeout=0.1)
            except queue.Empty:
                continue
            try:
                frames = self._encode(item)
            except FFmpegError as error:
                log.error("recording_encoder_failed", sid=self.sid, error=str(error))
                continue
            if frames:
                self._loop.call_soon_threadsafe(self._deliver, tuple(frames))

    def _encode(self, item: DecodedPicture | DecodedSound) -> list[EncodedFrame]:
        if isinstance(item, DecodedSound):
            return self._audio.encode(item)
        return self._video.encode(item)


class DecodedTracks:
    """Has chosen tracks subscribed to, decoded and encoded; `deliver` gets their frames in the event loop."""

    def __init__(self, subscriber: Subscriber, clock: SteadyClock, *, decrypts: bool) -> None:
        """`decrypts`: the participant joined with keys for end-to-end encryption."""
        self.decrypts = decrypts
        self._subscriber = subscriber
        self._clock = clock
        self._encoders: dict[str, _TrackEncoder] = {}
        self._ending: list[_TrackEncoder] = []
        self._end_feed: dict[str, Callable[[], None]] = {}
        self._clocks: dict[str, ClockMapper] = {}
        self.bytes_encoded: dict[str, int] = {}
        self.frames_encoded = 0

    @property
    def sids(self) -> frozenset[str]:
        """The tracks that are wanted."""
        return frozenset(self._encoders)

    def start_track(self, sid: str, kind: str, deliver: Deliver) -> bool:
        """Record a track; False while the participant does not know it yet: ask again."""
        encoder = _TrackEncoder(sid, kind, self._clock, lambda frames: self._delivered(sid, frames, deliver))
        try:
            self._end_feed[sid] = self._subscriber.feed(sid, encoder.take)
        except TrackNotFound:
            encoder.end()
            return False
        self._encoders[sid] = encoder
        self.bytes_encoded[sid] = 0
        # The SDK tells no sender's clock: the least late of all pictures or sounds places a track.
        self._clocks[sid] = ClockMapper(VIDEO_HZ if kind == "video" else AUDIO_HZ, NtpOffset())
        return True

    def _delivered(self, sid: str, frames: tuple[EncodedFrame, ...], deliver: Deliver) -> None:
        if sid in self._encoders:
            self.bytes_encoded[sid] += sum(len(frame.data) for frame in frames)
            self.frames_encoded += len(frames)
            for frame in frames:
                self._clocks[sid].observe_frame(frame.rtp_timestamp, frame.arrival_time)
            deliver(sid, frames)

    def clock_mappings(self) -> dict[str, RtpClockMapping]:
        """By SID, how the encoders' time maps to the recording's clock."""
        return {sid: mapping for sid, clock in self._clocks.items() if (mapping := clock.mapping()) is not None}

    def end_track(self, sid: str) -> None:
        """Record a track no longer; its subscription is the policy's again."""
        encoder = self._encoders.pop(sid, None)
        self.bytes_encoded.pop(sid, None)
        self._clocks.pop(sid, None)
        if encoder is None:
            return
        self._stop_feeding(encoder)
        self._ending = [item for item in self._ending if item.running] + [encoder]

    def _stop_feeding(self, encoder: _TrackEncoder) -> None:
        encoder.end()
        if end_feed := self._end_feed.pop(encoder.sid, None):
            end_feed()

    def request_keyframe(self, sid: str) -> None:
        """Make a video's next frame a sync sample."""
        if encoder := self._encoders.get(sid):
            encoder.request_keyframe()

    async def aclose(self) -> None:
        """Deliver what is decoded by now, then end; idempotent."""
        for encoder in self._encoders.values():
            self._stop_feeding(encoder)
        for encoder in (*self._encoders.values(), *self._ending):
            await asyncio.to_thread(encoder.join)
        await asyncio.sleep(0)  # for the frames that the threads have handed to the loop
        self._encoders.clear()
        self._ending.clear()
