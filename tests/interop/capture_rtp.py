"""Captures RTP of real senders into tests/media/rtp/fixtures: `python -m tests.interop.capture_rtp [NAME …]`.

Needs what the integration and interop tests need: the local server, and for Chromium's part the
browser and `npm ci` in tests/interop. Without names everything is captured anew, in a minute or two.
"""

import asyncio
import itertools
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from agent.config import load_settings
from agent.credentials import Credentials
from agent.service.local_server import LocalServer, find_server
from agent.tokens import ParticipantTokenRequest, mint_participant_token
from media.clock import SteadyClock
from media.frames import Codec, EncodedFrame, MediaKind
from media.tap.events import LayerQuality, RemoteParticipant
from media.tap.receiver import Receivers
from media.tap.tap import Tap, TapOptions, TapState
from tests.integration.publishing import Publisher, eventually
from tests.interop.aiortc_sender import send
from tests.interop.chromium import Page, chromium, find_chromium
from tests.interop.livekit_client import SCRIPTS, publish
from tests.media.rtp.rtp_fixture import FIXTURES, Description, RtpFixture

FRAMES = 40


@dataclass(slots=True)
class CapturingReceivers(Receivers):
    """Keeps every packet with its arrival time."""

    packets: list[tuple[float, bytes]] = field(default_factory=list)

    def receive(self, data: bytes, now: float) -> None:
        self.packets.append((now, data))
        Receivers.receive(self, data, now)

    def capture(self, track_sid: str, sender: str) -> RtpFixture:
        """The packets of one track so far."""
        track = self._tracks[track_sid]
        rtx_ssrc = next((ssrc for ssrc, item in self._by_rtx_ssrc.items() if item is track), 0)
        config = track.config
        description = Description(
            sender=sender,
            codecs=dict(config.codecs),
            ssrc=track.ssrc,
            rtx_ssrc=rtx_ssrc,
            rtx=dict(config.rtx),
            red=dict(config.red),
            abs_capture_time_id=config.abs_capture_time_id,
            dependency_descriptor_id=config.dependency_descriptor_id,
        )
        own = [(at, data) for at, data in self.packets if int.from_bytes(data[8:12], "big") in {track.ssrc, rtx_ssrc}]
        first = own[0][0]
        # Packets of the first moments come another way than by the kernel's stamps.
        times = itertools.accumulate((at - first for at, _ in own), max)
        return described(RtpFixture(description, [(at, data) for at, (_, data) in zip(times, own, strict=True)]))


def described(fixture: RtpFixture) -> RtpFixture:
    """The fixture with the count and the sizes of its frames."""
    frames = fixture.replay()
    sizes = list(dict.fromkeys((frame.width, frame.height) for frame in frames if frame.sync_sample and frame.width))
    used = {frame.codec for frame in frames}
    codecs = {number: codec for number, codec in fixture.description.codecs.items() if codec in used}
    rtx = {number: original for number, original in fixture.description.rtx.items() if original in codecs}
    sent = {data[1] & 0x7F for _, data in fixture.packets}
    red = {number: original for number, original in fixture.description.red.items() if number in sent}
    description = replace(fixture.description, frames=len(frames), sizes=sizes, codecs=codecs, rtx=rtx, red=red)
    return RtpFixture(description, fixture.packets)


class Listener:
    """Knows the room's tracks and counts their frames."""

    def __init__(self) -> None:
        self.participants: dict[str, RemoteParticipant] = {}
        self.frames: dict[str, list[EncodedFrame]] = {}

    def on_tap_frames(self, track_sid: str, frames: tuple[EncodedFrame, ...]) -> None:
        self.frames.setdefault(track_sid, []).extend(frames)

    def on_tap_participants(self, participants: dict[str, RemoteParticipant]) -> None:
        self.participants = participants

    def on_tap_state(self, state: TapState, reason: str) -> None:
        pass

    def on_tap_stream_state(self, track_sid: str, *, paused: bool) -> None:
        pass

    def on_tap_refused(self, track_sid: str, reason: str) -> None:
        raise RuntimeError(f"{track_sid} cannot be captured: {reason}")

    def on_tap_allowed(self, track_sid: str) -> None:
        pass

    async def track(self, kind: MediaKind) -> str:
        """The SID of the first track of a kind, once it is there."""

        def find() -> str | None:
            tracks = (track for item in self.participants.values() for track in item.tracks)
            return next((track.sid for track in tracks if track.kind is kind), None)

        return await eventually(find, timeout_s=30)

    async def heard(self, track_sid: str, wanted: Callable[[EncodedFrame], bool] = lambda _: True) -> None:
        """Until a frame of the track is as wanted."""
        await eventually(lambda: any(map(wanted, self.frames.get(track_sid, []))) or None, timeout_s=100)


@dataclass
class Capture:
    """A tap in a room that keeps the packets."""

    tap: Tap
    listener: Listener
    receivers: CapturingReceivers

    async def take(self, kind: MediaKind, sender: str, layers: tuple[LayerQuality, ...] = ()) -> RtpFixture:
        """FRAMES of the first track of a kind; of each of `layers` where there are some."""
        sid = await self.listener.track(kind)
        for quality in layers or (LayerQuality.HIGH,):
            lower = max((frame.height for frame in self.listener.frames.get(sid, [])), default=0)
            await self.tap.subscribe(sid, quality)
            await self.tap.set_quality(sid, quality)
            await self.listener.heard(sid, partial(_is_of_layer_above, kind, lower))
            await self._more(sid, FRAMES)
        return self.receivers.capture(sid, sender)

    async def _more(self, sid: str, count: int) -> None:
        wanted = len(self.listener.frames[sid]) + count
        await eventually(lambda: len(self.listener.frames[sid]) >= wanted or None, timeout_s=100)


def _is_of_layer_above(kind: MediaKind, height: int, frame: EncodedFrame) -> bool:
    return kind is MediaKind.AUDIO or frame.height > height


@asynccontextmanager
async def capturing(server: Credentials, room: str) -> AsyncIterator[Capture]:
    """A hidden tap in `room`."""

    def token() -> str:
        return mint_participant_token(
            server, ParticipantTokenRequest(room, "tap", hidden=True, recorder=True, can_publish=False)
        )

    listener = Listener()
    tap = Tap(TapOptions(server.url, token), listener, SteadyClock())
    receivers = CapturingReceivers(local_ssrc=0x0BAD_CAFE, cname="capture")
    tap._receivers = receivers
    await tap.start()
    try:
        yield Capture(tap, listener, receivers)
    finally:
        await tap.aclose()


def sdk(codec: Codec) -> Callable[[Credentials], Awaitable[dict[str, RtpFixture]]]:
    """The Python SDK with one of its encoders."""

    async def capture(server: Credentials) -> dict[str, RtpFixture]:
        name = f"sdk_{codec}"
        publisher = Publisher(server, name, codec=codec, width=320, height=180, bitrate_bps=150_000)
        async with publisher, capturing(server, name) as tap:
            return {name: await tap.take(MediaKind.VIDEO, f"livekit Python SDK, {codec}")}

    return capture


async def sdk_audio(server: Credentials) -> dict[str, RtpFixture]:
    """The Python SDK's microphone."""
    publisher = Publisher(server, "sdk_audio", codec=Codec.VP8, width=320, height=180)
    async with publisher, capturing(server, "sdk_audio") as tap:
        return {"sdk_opus_red": await tap.take(MediaKind.AUDIO, "livekit Python SDK, Opus")}


def aiortc(codec: Codec) -> Callable[[Credentials], Awaitable[dict[str, RtpFixture]]]:
    """aiortc, without a server."""

    async def capture(_server: Credentials) -> dict[str, RtpFixture]:
        return {f"aiortc_{codec}": described(await send(codec, FRAMES))}

    return capture


@asynccontextmanager
async def browser(server: Credentials, room: str, function: str, options: dict[str, Any]) -> AsyncIterator[Page]:
    """A page of Chromium that publishes with livekit-client."""
    binary = find_chromium()
    if binary is None or not SCRIPTS.exists():
        raise RuntimeError("Chromium and `npm ci` in tests/interop are needed")
    with tempfile.TemporaryDirectory() as folder:
        async with chromium(binary, Path(folder)) as running:
            page = await running.page()
            await publish(page, server, room, function, options)
            yield page
            await page.evaluate("room.disconnect()")


def chromium_video(
    codec: str, *, layers: tuple[LayerQuality, ...] = (), size: tuple[int, int] = (640, 360), **publish: Any
) -> Callable[[Credentials], Awaitable[dict[str, RtpFixture]]]:
    """Chromium's encoders by way of livekit-client."""

    async def capture(server: Credentials) -> dict[str, RtpFixture]:
        name = f"chromium_{codec}"
        encoding = {"maxBitrate": 300_000, "maxFramerate": 25}
        options = {
            "width": size[0],
            "height": size[1],
            "publish": {"videoCodec": codec, "videoEncoding": encoding, **publish},
        }
        async with browser(server, name, "publishVideo", options), capturing(server, name) as tap:
            return {name: await tap.take(MediaKind.VIDEO, f"Chromium, livekit-client, {codec} {publish}", layers)}

    return capture


async def chromium_audio(server: Credentials) -> dict[str, RtpFixture]:
    """Chromium's Opus, with RED and DTX, and without RED."""
    taken = {}
    for name, red in (("chromium_opus_red_dtx", True), ("chromium_opus_dtx", False)):
        options = {"publish": {"dtx": True, "red": red}}
        async with browser(server, name, "publishAudio", options), capturing(server, name) as tap:
            taken[name] = await tap.take(MediaKind.AUDIO, f"Chromium, livekit-client, Opus with DTX, RED {red}")
    return taken


LOW_THEN_HIGH = (LayerQuality.LOW, LayerQuality.HIGH)
CAPTURES: dict[str, Callable[[Credentials], Awaitable[dict[str, RtpFixture]]]] = {
    "sdk_vp8": sdk(Codec.VP8),
    "sdk_vp9": sdk(Codec.VP9),
    "sdk_av1": sdk(Codec.AV1),
    "sdk_h264": sdk(Codec.H264),
    "sdk_audio": sdk_audio,
    "aiortc_vp8": aiortc(Codec.VP8),
    "aiortc_h264": aiortc(Codec.H264),
    "aiortc_opus": aiortc(Codec.OPUS),
    "chromium_vp8": chromium_video("vp8", layers=LOW_THEN_HIGH, size=(960, 540), simulcast=True),
    "chromium_h264": chromium_video("h264", simulcast=False),
    "chromium_vp9": chromium_video("vp9", layers=LOW_THEN_HIGH, scalabilityMode="L3T3_KEY"),
    "chromium_av1": chromium_video("av1", layers=LOW_THEN_HIGH, scalabilityMode="L3T3_KEY"),
    "chromium_audio": chromium_audio,
}


async def main(names: list[str]) -> None:
    """Capture what is named, all by default."""
    FIXTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        binary = await asyncio.to_thread(find_server, load_settings().cache_dir, print)
        server = LocalServer(binary, log_file=Path(folder) / "server.log")
        credentials = (await server.start()).credentials
        try:
            for name in names or CAPTURES:
                for file, fixture in (await CAPTURES[name](credentials)).items():
                    fixture.save(FIXTURES / f"{file}.rtp")
                    print(file, len(fixture.packets), "packets", fixture.description)
        finally:
            await server.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
