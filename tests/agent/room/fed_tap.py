"""A tap that is fed one microphone's packets by a test, and its recording: the real way from RTP to file and report."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from agent.room.quality_monitor import QualityTick
from agent.room.recorded_layers import RecordedLayers
from agent.room.recorded_tracks import RecordedTracks
from agent.room.recording_quality import RecordingQuality
from agent.room.restart_hands import TapHands
from agent.room.restarts import TrackRestarter
from media.clock import SteadyClock
from media.e2ee.frame_decryptor import FrameDecryptor
from media.frames import Codec, MediaKind
from media.record.recorder import Recording
from media.rtp.clock_mapping import RtpClockMapping
from media.rtp.inbound_rtp_stats import InboundRtpStats
from media.rtp.inbound_stream import InboundStream, InboundStreamConfig
from media.tap.events import LayerQuality, RemoteParticipant, RemoteTrack
from media.tap.tap import Tap, TapState
from tests.media.opus_sounds import PACKET, PACKETS_PER_S
from tests.media.rtp.packetisers import OPUS_PAYLOAD_TYPE, RED_PAYLOAD_TYPE, Sender, red_payload
from tests.quality.traces import EPOCH

SID = "TR_mic"


class FedTap:
    """As `Tap` shows itself, in one room with one microphone; `asked` are the subscriptions that were asked for."""

    state = TapState.CONNECTED
    participant_sid = "PA_tap"
    participant_identity = "recorder-tap"
    bandwidth_estimate_bps = None
    connection_qualities: dict[str, object] = {}  # noqa: RUF012 - never changed

    def __init__(self, decryptor: FrameDecryptor | None) -> None:
        config = InboundStreamConfig(
            codecs={OPUS_PAYLOAD_TYPE: Codec.OPUS}, red={RED_PAYLOAD_TYPE: OPUS_PAYLOAD_TYPE}, nack=False
        )
        self.stream = InboundStream(config, decryptor=decryptor)
        self.now = EPOCH
        self.asked: list[str] = []
        track = RemoteTrack(
            SID,
            "microphone",
            MediaKind.AUDIO,
            "microphone",
            "audio/red",
            muted=False,
            simulcasted=False,
            encrypted=decryptor is not None,
        )
        self.participants = {"PA_ada": RemoteParticipant("PA_ada", "ada", "Ada", "", {}, active=True, tracks=(track,))}
        self.subscribed = self.given = frozenset({SID})

    def find_track(self, sid: str) -> tuple[RemoteParticipant, RemoteTrack] | None:
        ada = self.participants["PA_ada"]
        return (ada, ada.tracks[0]) if sid == SID else None

    def stats(self) -> dict[str, InboundRtpStats]:
        return {SID: self.stream.stats(self.now)}

    def undecryptable(self) -> dict[str, object]:
        return {}

    def clock_mappings(self) -> dict[str, RtpClockMapping]:
        return {}

    def quality(self, _sid: str) -> LayerQuality | None:
        return None

    def max_fps(self, _sid: str) -> int | None:
        return None

    async def subscribe(self, _sid: str, _quality: LayerQuality, *, max_fps: int | None = None) -> None:
        self.asked.append("subscribe")

    async def unsubscribe(self, _sid: str) -> None:
        self.asked.append("unsubscribe")


class FedRecording:
    """Records, judges and restarts as `RoomRecorder` does, a packet each 20 ms of a time of its own."""

    def __init__(self, root: Path, *, decryptor: FrameDecryptor | None = None, red: bool = False) -> None:
        self.fed = FedTap(decryptor)
        tap = cast("Tap", self.fed)
        self.told: list[object] = []
        self.recording = Recording.create(root, "one", "lobby", started_at=EPOCH)
        self.tracks = RecordedTracks(tap, None, cast("SteadyClock", SimpleNamespace(now=lambda: self.fed.now)))
        self.quality = RecordingQuality(tap, None, self.told.append)
        layers = cast("RecordedLayers", SimpleNamespace(max_fps=lambda _sid: None))
        self.restarter = TrackRestarter("tap", TapHands(tap, layers, lambda: None), self.told.append)
        self.ticks: list[QualityTick] = []
        self.quality.add_listener(self.restarter.on_tick)
        self.quality.add_listener(self.ticks.append)
        self.quality.start(self.recording)
        self._sender = Sender(payload_type=RED_PAYLOAD_TYPE if red else OPUS_PAYLOAD_TYPE)
        self._red = red
        self._sent = 0

    def second(self, packets: Iterable[bytes | None]) -> None:
        """A second of packets, None for one that is not sent; then what came is judged."""
        for packet in packets:
            self.fed.now += 1 / PACKETS_PER_S
            self._sent += 1
            if packet is None:
                continue
            payload = red_payload(packet) if self._red else packet
            self.fed.stream.receive(self._sender.packet(payload, self._sent * PACKET), self.fed.now)
            if frames := self.fed.stream.poll(self.fed.now).frames:
                self.tracks.write(self.recording, SID, frames)
        self.recording.tick(self.fed.now)
        self.quality.sample(self.tracks.is_stream_paused, self.tracks.sound.counts, self.fed.now)

    def play(self, packets: Iterable[bytes | None]) -> None:
        """Whole seconds of packets."""
        for second in _seconds(packets):
            self.second(second)

    async def aclose(self) -> Path:
        """End the recording, with its report; its folder."""
        await self.restarter.aclose()
        await self.quality.load_earlier(EPOCH)
        self.quality.flush(self.fed.now)
        await self.recording.aclose(self.fed.now, "requested")
        await self.quality.write_report()
        return self.recording.path


def _seconds(packets: Iterable[bytes | None]) -> Iterator[tuple[bytes | None, ...]]:
    waiting: list[bytes | None] = []
    for packet in packets:
        waiting.append(packet)
        if len(waiting) == PACKETS_PER_S:
            yield tuple(waiting)
            waiting.clear()


def spoilt(packet: bytes) -> bytes:
    """Of the same size and duration, and no Opus: one frame with more padding than there is."""
    return bytes([packet[0] | 3, 0x41]) + b"\xff" * (len(packet) - 2)
