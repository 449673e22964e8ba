"""Publishes flashes and beeps through the LiveKit SDK and knows when each was captured.

A picture's RTP time is the time with which it was handed over. Sound is counted by the SDK, not timed: it goes in
without the SDK's queue, 10 ms at a time, and when the event loop is late with some it catches up, so a sample's time is
the one at which it was due. What is between a flash and its beep by these times is the event loop's and no recorder's.
"""

import asyncio
import time
from dataclasses import dataclass, field

from livekit import rtc
from livekit.rtc import SimulateScenarioKind

from agent.credentials import Credentials
from agent.tokens import ParticipantTokenRequest, mint_participant_token
from media.frames import Codec
from media.sources.source import VideoFormat
from media.sources.sync import SECOND_BITS, SyncSource

_CODECS = {Codec.VP8: rtc.VideoCodec.VP8, Codec.H264: rtc.VideoCodec.H264}
_CHUNK_S = 0.01
_MARK_S = 0.2
_DISTURBED_S = 1.0  # the SDK takes 0.5 to 1 s to send again


@dataclass
class SyncPublisher:
    """`async with` publishes a camera and a microphone. `flashes` and `beeps`: capture times by their second.

    `disturbed_at`: when its connection was cut. What is cut off from a beep or a flash then is no matter of sync.
    """

    server: Credentials
    room_name: str
    identity: str
    codec: Codec = Codec.H264
    size: tuple[int, int] = (640, 360)
    fps: int = 20
    first_second: int = 1000
    flashes: dict[int, float] = field(default_factory=dict)
    beeps: dict[int, float] = field(default_factory=dict)
    room: rtc.Room = field(default_factory=rtc.Room)
    disturbed_at: list[float] = field(default_factory=list)

    async def __aenter__(self) -> "SyncPublisher":
        token = mint_participant_token(self.server, ParticipantTokenRequest(self.room_name, self.identity))
        await self.room.connect(self.server.url, token)
        self._source = SyncSource(VideoFormat(*self.size, float(self.fps)), first_second=self.first_second)
        self._video = rtc.VideoSource(*self.size)
        self._audio = rtc.AudioSource(48_000, 1, queue_size_ms=0)
        self.camera = rtc.LocalVideoTrack.create_video_track("camera", self._video)
        self.microphone = rtc.LocalAudioTrack.create_audio_track("microphone", self._audio)
        publish = self.room.local_participant.publish_track
        options = rtc.TrackPublishOptions(
            source=rtc.TrackSource.SOURCE_CAMERA, simulcast=self.size[0] >= 960, video_codec=_CODECS[self.codec]
        )
        await publish(self.camera, options)
        await publish(
            self.microphone, rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, dtx=False, red=False)
        )
        self._started = time.monotonic()
        self._tasks = [
            asyncio.create_task(self._send_video(), name="sync.video"),
            asyncio.create_task(self._send_audio(), name="sync.audio"),
        ]
        return self

    async def __aexit__(self, *_exc: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._audio.aclose()
        await self._video.aclose()
        await self.room.disconnect()

    def mute(self, kind: str) -> None:
        """Mute "audio" or "video"."""
        (self.microphone if kind == "audio" else self.camera).mute()

    def unmute(self, kind: str) -> None:
        """End that."""
        (self.microphone if kind == "audio" else self.camera).unmute()

    def _second(self, pts_s: float) -> int:
        return (self.first_second + int(pts_s + 1e-6)) % (1 << SECOND_BITS)

    async def _send_video(self) -> None:
        while frame := await asyncio.to_thread(self._source.read_video):
            await asyncio.sleep(max(0.0, self._started + frame.pts_s - time.monotonic()))
            picture = rtc.VideoFrame(frame.width, frame.height, rtc.VideoBufferType.I420, frame.data)
            captured = time.monotonic()
            self._video.capture_frame(picture, timestamp_us=round(captured * 1e6))
            if round(frame.pts_s * self.fps) % self.fps == 0:
                self.flashes[self._second(frame.pts_s)] = captured

    async def _send_audio(self) -> None:
        while chunk := self._source.read_audio():
            size = round(48_000 * _CHUNK_S) * 2
            for index in range(len(chunk.data) // size):
                at_s = chunk.pts_s + index * _CHUNK_S
                await asyncio.sleep(max(0.0, self._started + at_s - time.monotonic()))
                data = chunk.data[index * size : (index + 1) * size]
                await self._audio.capture_frame(rtc.AudioFrame(data, 48_000, 1, size // 2))
                if index == 0 and abs(chunk.pts_s - round(chunk.pts_s)) < 1e-6:
                    self.beeps[self._second(chunk.pts_s)] = self._started + chunk.pts_s

    async def reconnect(self, scenario: SimulateScenarioKind.ValueType) -> None:
        """Lose the connection in that way."""
        self.disturbed_at.append(time.monotonic())
        await self.room.simulate_scenario(scenario)

    def skew_ms(self, second: int) -> float | None:
        """How much later the sound of `second` was captured than its picture; None where one is not whole."""
        if second not in self.flashes or second not in self.beeps:
            return None
        if any(-_MARK_S < self.flashes[second] - at < _DISTURBED_S for at in self.disturbed_at):
            return None
        return 1000 * (self.beeps[second] - self.flashes[second])
