"""The tap against a real server: what a real publisher sends comes out as whole frames."""

import asyncio
import itertools
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import av
import pytest

from agent.credentials import Credentials
from agent.tokens import ParticipantTokenRequest, mint_participant_token
from media.clock import SteadyClock
from media.errors import TapUnauthorized, TapUnreachable
from media.frames import Codec, EncodedFrame, MediaKind
from media.tap.events import LayerQuality, RemoteParticipant
from media.tap.tap import Tap, TapOptions, TapState
from tests.integration.publishing import Publisher, eventually

pytestmark = pytest.mark.server


@dataclass
class Ears:
    """Keeps everything a tap tells."""

    frames: dict[str, list[EncodedFrame]] = field(default_factory=lambda: defaultdict(list))
    participants: dict[str, RemoteParticipant] = field(default_factory=dict)
    states: list[TapState] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def on_tap_frames(self, track_sid: str, frames: tuple[EncodedFrame, ...]) -> None:
        self.frames[track_sid] += frames

    def on_tap_participants(self, participants: dict[str, RemoteParticipant]) -> None:
        self.participants = participants

    def on_tap_state(self, state: TapState, reason: str) -> None:
        self.states.append(state)

    def on_tap_stream_state(self, track_sid: str, *, paused: bool) -> None:
        pass

    def on_tap_refused(self, track_sid: str, reason: str) -> None:
        self.refused.append(reason)

    def on_tap_allowed(self, track_sid: str) -> None:
        pass

    def track(self, kind: MediaKind) -> str | None:
        """The SID of the first published track of a kind."""
        tracks = (track for item in self.participants.values() for track in item.tracks)
        return next((track.sid for track in tracks if track.kind is kind), None)


def make_tap(server: Credentials, room: str, ears: Ears) -> Tap:
    def token() -> str:
        return mint_participant_token(
            server, ParticipantTokenRequest(room, "tap", hidden=True, recorder=True, can_publish=False)
        )

    return Tap(TapOptions(server.url, token), ears, SteadyClock())


@pytest.mark.parametrize("codec", [Codec.VP8, Codec.VP9, Codec.AV1, Codec.H264])
async def test_frames_of_a_real_publisher_arrive_whole_and_decode(livekit_server: Credentials, codec: Codec) -> None:
    ears = Ears()
    async with Publisher(livekit_server, f"tap-{codec}", codec=codec) as publisher:
        tap = make_tap(livekit_server, f"tap-{codec}", ears)
        await tap.start()
        video = await eventually(lambda: ears.track(MediaKind.VIDEO))
        audio = await eventually(lambda: ears.track(MediaKind.AUDIO))
        await tap.subscribe(video)
        await tap.subscribe(audio)
        await eventually(lambda: len(ears.frames[video]) >= 50 or None, timeout_s=30)
        stats = tap.stats()[video]
        await tap.aclose()
        assert publisher.video_frames >= 50
    frames = ears.frames[video]
    assert frames[0].sync_sample
    assert not any(frame.discontinuity for frame in frames[1:])
    assert {frame.codec for frame in frames} == {codec}
    assert [frame.rtp_timestamp for frame in frames] == sorted({frame.rtp_timestamp for frame in frames})
    assert stats.packets_lost == 0
    assert stats.frames_dropped == 0
    assert decode_all(frames) == len(frames)
    steps = Counter(b.rtp_timestamp - a.rtp_timestamp for a, b in itertools.pairwise(ears.frames[audio]))
    # 20 ms; a sender that is short of CPU, and the server's mending of RED, make a few odd ones.
    assert steps[960] >= 0.9 * steps.total()


async def test_layers_change_on_request(livekit_server: Credentials) -> None:
    ears = Ears()
    async with Publisher(livekit_server, "tap-layers", codec=Codec.VP8, width=1280, height=720):
        tap = make_tap(livekit_server, "tap-layers", ears)
        await tap.start()
        video = await eventually(lambda: ears.track(MediaKind.VIDEO))
        await tap.subscribe(video, LayerQuality.LOW)
        await eventually(lambda: any(frame.height == 180 for frame in ears.frames[video]) or None)
        await tap.set_quality(video, LayerQuality.HIGH)
        await eventually(lambda: any(frame.height == 720 for frame in ears.frames[video]) or None, timeout_s=15)
        await tap.aclose()
    switches = [frame for frame in ears.frames[video] if frame.height == 720]
    assert switches[0].sync_sample
    assert decode_all(ears.frames[video]) == len(ears.frames[video])


async def test_the_tap_is_hidden_from_the_room(livekit_server: Credentials) -> None:
    async with Publisher(livekit_server, "tap-hidden", codec=Codec.VP8) as publisher:
        tap = make_tap(livekit_server, "tap-hidden", Ears())
        await tap.start()
        await asyncio.sleep(0.5)
        assert publisher.room.remote_participants == {}
        await tap.aclose()


async def test_a_wrong_key_is_refused_and_a_missing_server_is_told(livekit_server: Credentials) -> None:
    wrong = Credentials(livekit_server.url, livekit_server.api_key, "x" * 40)
    with pytest.raises(TapUnauthorized, match="API key"):
        await make_tap(wrong, "tap-auth", Ears()).start()
    nowhere = Credentials("ws://127.0.0.1:9", livekit_server.api_key, livekit_server.api_secret)
    with pytest.raises(TapUnreachable, match="LIVEKIT_URL"):
        await make_tap(nowhere, "tap-auth", Ears()).start()


async def test_ten_joins_in_a_row_all_receive(livekit_server: Credentials) -> None:
    async with Publisher(livekit_server, "tap-joins", codec=Codec.VP8, width=320, height=180):
        for _ in range(10):
            states = await join_and_receive(livekit_server, "tap-joins")
            assert states == [TapState.CONNECTED, TapState.CLOSED]


async def test_a_track_that_is_let_go_and_taken_again_at_once_goes_on(livekit_server: Credentials) -> None:
    """The server makes no new offer of it."""
    ears = Ears()

    async def more(sid: str, count: int) -> None:
        wanted = len(ears.frames[sid]) + count
        await eventually(lambda: len(ears.frames[sid]) >= wanted or None, timeout_s=20)

    async with Publisher(livekit_server, "tap-again", codec=Codec.VP8, width=320, height=180):
        tap = make_tap(livekit_server, "tap-again", ears)
        await tap.start()
        video = await eventually(lambda: ears.track(MediaKind.VIDEO))
        audio = await eventually(lambda: ears.track(MediaKind.AUDIO))
        for sid in (video, audio):
            await tap.subscribe(sid)
        for _ in range(3):
            for sid in (video, audio):
                await more(sid, 5)
            for sid in (video, audio):
                await tap.unsubscribe(sid)
                await tap.subscribe(sid)
        for sid in (video, audio):
            await more(sid, 25)
        await tap.aclose()


async def join_and_receive(server: Credentials, room: str) -> list[TapState]:
    """A tap's states over a visit in which it received some video."""
    ears = Ears()
    tap = make_tap(server, room, ears)
    await tap.start()
    video = await eventually(lambda: ears.track(MediaKind.VIDEO))
    await tap.subscribe(video)
    await eventually(lambda: len(ears.frames[video]) >= 3 or None)
    await tap.aclose()
    return ears.states


def decode_all(frames: list[EncodedFrame]) -> int:
    """How many pictures FFmpeg makes of the frames."""
    codec = frames[0].codec
    decoder = av.CodecContext.create("libdav1d" if codec is Codec.AV1 else codec.value, "r")
    assert isinstance(decoder, av.VideoCodecContext)
    pictures = 0
    for frame in frames:
        pictures += len(decoder.decode(av.Packet(annex_b(frame) if codec is Codec.H264 else frame.data)))
    return pictures + len(decoder.decode(None))


def annex_b(frame: EncodedFrame) -> bytes:
    """The frame with start codes in place of lengths."""
    out, at = bytearray(), 0
    while at < len(frame.data):
        size = int.from_bytes(frame.data[at : at + 4], "big")
        out += b"\0\0\0\1" + frame.data[at + 4 : at + 4 + size]
        at += 4 + size
    return bytes(out)
