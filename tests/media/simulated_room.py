"""A simulated room: senders with clocks of their own, a network, and the recorder's real code up to presentation times.

Pure and fast: two hours of two participants take some seconds. What is simulated is the sender and the network; RTP
packets, sender reports, `InboundStream`, `Segmenter`, `TrackClock`, the journal's entries and the export's placing of
samples are the real ones. Media are coarse (a frame each 500 ms, an Opus packet each 250 ms): clocks show no less.
"""

import random
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import merge
from pathlib import Path

from media.frames import Codec, EncodedFrame, MediaKind
from media.process.timeline import Retimer
from media.record.entries import (
    ClockMapping,
    JournalEntry,
    RecordingClosed,
    RecordingStarted,
    TrackDescriptor,
    TrackOpened,
)
from media.record.journal_line import JournalRecord
from media.record.reader import TrackView, view_from_records
from media.record.segmenter import Action, AppendPart, Segmenter, SegmenterConfig, SetAnchor
from media.record.track_clock import TrackClock
from media.rtp.inbound_config import InboundStreamConfig
from media.rtp.inbound_stream import InboundStream
from media.rtp.minimum_offset import NtpOffset
from media.rtp.packet import RtpPacket
from media.rtp.rtcp import NTP_UNIX_OFFSET_S, SenderReport

STARTED_AT = 1_700_000_000.0
_INTERVAL_S = {MediaKind.VIDEO: 0.5, MediaKind.AUDIO: 0.25}
_CODEC = {MediaKind.VIDEO: Codec.VP8, MediaKind.AUDIO: Codec.OPUS}
_REPORT_ERROR_S = {MediaKind.VIDEO: 0.0005, MediaKind.AUDIO: 0.005}
"""How well the Python SDK's sender reports go with its RTP timestamps, one sigma: measured on a real server."""
_VP8_SYNC = b"\x10\x10\x00\x00\x9d\x01\x2a\x40\x01\xb4\x00"
_VP8_OTHER = b"\x10\x11\x00\x00"
_OPUS_20_MS = b"\xfc"
_POLL_S = 1.0


@dataclass(frozen=True)
class Span:
    """From `start_s` for `duration_s`, seconds since the recording started."""

    start_s: float
    duration_s: float

    def holds(self, time_s: float) -> bool:
        """Whether `time_s` is in it."""
        return self.start_s <= time_s < self.start_s + self.duration_s


@dataclass(frozen=True)
class Participant:
    """A sender and its network.

    Its NTP clock is `ntp_error_s` off and drifts by `ntp_drift_ppm`; its media clocks drift against that.
    `delay_s` is the way of audio; video takes `video_extra_s` more (encoder, pacer). From `delay_change` = (at, by) on,
    all takes longer. `burst_s`: all of the first so many seconds arrives at once. In a stall nothing is captured and
    RTP time stands still.
    """

    name: str
    ntp_error_s: float = 0.0
    ntp_drift_ppm: float = 0.0
    audio_drift_ppm: float = 0.0
    video_drift_ppm: float = 0.0
    delay_s: float = 0.03
    video_extra_s: float = 0.04
    jitter_s: float = 0.008
    delay_change: tuple[float, float] = (float("inf"), 0.0)
    burst_s: float = 0.0
    stalls: tuple[Span, ...] = ()
    queues: tuple[Span, ...] = ()
    audio_mutes: tuple[Span, ...] = ()
    video_mutes: tuple[Span, ...] = ()
    report_loss: float = 0.1
    wrong_video_ntp: tuple[Span, float] = (Span(float("inf"), 0.0), 0.0)


@dataclass(frozen=True)
class Shown:
    """A recorded frame: when it was captured and when the export shows it, seconds since the recording started."""

    captured_s: float
    shown_s: float

    @property
    def error_s(self) -> float:
        """How much later than captured; the network's delay is in it."""
        return self.shown_s - self.captured_s


@dataclass
class SimulatedTrack:
    """One track from its sender to the presentation times of an export."""

    participant: Participant
    kind: MediaKind
    number: int
    duration_s: float
    seed: int
    offset: NtpOffset
    records: list[JournalRecord] = field(default_factory=list)
    captured: list[float] = field(default_factory=list)
    samples: list[tuple[int, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        codec = _CODEC[self.kind]
        self.rate = codec.clock_rate
        self.random = random.Random(f"{self.seed} {self.participant.name} {self.kind}")
        self.rtp_base = self.random.getrandbits(32)
        drift = self.participant.audio_drift_ppm if self.kind is MediaKind.AUDIO else self.participant.video_drift_ppm
        self.rtp_speed = self.rate * (1 + drift * 1e-6)
        self.stream = InboundStream(InboundStreamConfig({96: codec}, nack=False), self.offset)
        self.segmenter = Segmenter(self.kind, self.rate, SegmenterConfig())
        self.clock = TrackClock(self.number, self.rate, STARTED_AT)
        self.next_poll_s = 0.0
        descriptor = TrackDescriptor(
            f"TR_{self.number}",
            "",
            "camera",
            self.kind,
            codec,
            self.participant.name,
            "",
            f"PA_{self.participant.name}",
        )
        self._record(TrackOpened(self.number, f"tracks/{self.number}", self.rate, descriptor), 0.0)

    def _record(self, entry: JournalEntry, at_s: float) -> None:
        self.records.append(JournalRecord(STARTED_AT + at_s, entry))

    # The sender

    def _stalled_s(self, time_s: float) -> float:
        return sum(min(max(0.0, time_s - stall.start_s), stall.duration_s) for stall in self.participant.stalls)

    def rtp(self, time_s: float) -> int:
        """The sender's RTP clock, not wrapped."""
        return self.rtp_base + round((time_s - self._stalled_s(time_s)) * self.rtp_speed)

    def ntp(self, time_s: float) -> float:
        """The sender's NTP clock."""
        participant = self.participant
        return STARTED_AT + participant.ntp_error_s + time_s * (1 + participant.ntp_drift_ppm * 1e-6)

    def _is_silent(self, time_s: float) -> bool:
        mutes = self.participant.audio_mutes if self.kind is MediaKind.AUDIO else self.participant.video_mutes
        return any(span.holds(time_s) for span in (*self.participant.stalls, *mutes))

    def _arrival(self, time_s: float) -> float:
        participant = self.participant
        changed_at, by = participant.delay_change
        delay_s = participant.delay_s + (by if time_s >= changed_at else 0.0)
        delay_s += participant.video_extra_s if self.kind is MediaKind.VIDEO else 0.0
        arrival = time_s + delay_s + self.random.expovariate(1 / participant.jitter_s)
        for queue in participant.queues:
            if queue.holds(time_s):
                # A queue that builds up and drains: a quarter of a second at its longest.
                arrival += 0.25 * (1 - abs(2 * (time_s - queue.start_s) / queue.duration_s - 1))
        return max(arrival, participant.burst_s)

    def events(self) -> Iterator[tuple[float, int, bytes | SenderReport]]:
        """Packets and sender reports in the order of their arrival, each with it and the track's number."""
        interval_s = _INTERVAL_S[self.kind]
        arrived, next_report_s = 0.0, self.random.uniform(0.5, 3.5)
        for index in range(round(self.duration_s / interval_s)):
            time_s = index * interval_s
            while next_report_s <= time_s:
                report = self._report(next_report_s)
                if report is not None:
                    yield max(arrived, next_report_s + self.participant.delay_s), self.number, report
                next_report_s += 3.0
            if self._is_silent(time_s):
                continue
            arrived = max(arrived, self._arrival(time_s))
            yield arrived, self.number, self._packet(time_s)

    def _report(self, time_s: float) -> SenderReport | None:
        if self.random.random() < self.participant.report_loss or self._is_silent(time_s):
            return None
        wrong, by_s = self.participant.wrong_video_ntp
        error_s = self.random.gauss(0, _REPORT_ERROR_S[self.kind])
        error_s += by_s if self.kind is MediaKind.VIDEO and wrong.holds(time_s) else 0.0
        ntp_time = self.ntp(time_s) + error_s
        return SenderReport(
            self.number, round((ntp_time + NTP_UNIX_OFFSET_S) * 2**32), ntp_time, self.rtp(time_s) % 2**32, 0, 0
        )

    def _packet(self, time_s: float) -> bytes:
        number = len(self.captured)
        self.captured.append(time_s)
        video_head = _VP8_SYNC if number % 25 == 0 else _VP8_OTHER
        head = _OPUS_20_MS if self.kind is MediaKind.AUDIO else video_head
        rtp_header = struct.pack("!BBHII", 0x80, 0xE0, number & 0xFFFF, self.rtp(time_s) % 2**32, self.number)
        return rtp_header + head + struct.pack("!I", number)

    # The recorder

    def receive(self, item: bytes | SenderReport, now_s: float) -> None:
        """Take a packet or report; once a second the clock is asked, as a room's recorder does."""
        now = STARTED_AT + now_s
        while self.next_poll_s <= now_s:
            self._poll(self.next_poll_s)
            self.next_poll_s += _POLL_S
        if isinstance(item, SenderReport):
            self.stream.handle_sender_report(item, now)
            return
        self.stream.receive(RtpPacket(item), now)
        self._write(self.stream.poll(now).frames, now_s)

    def _poll(self, now_s: float) -> None:
        self._write(self.stream.poll(STARTED_AT + now_s).frames, now_s)
        estimate = self.stream.clock_mapping(STARTED_AT + now_s)
        mapping = None if estimate is None else self.clock.estimated(estimate, self.segmenter.decode_time)
        if mapping is not None:
            self._record(mapping, now_s)
        self._perform(self.segmenter.tick(STARTED_AT + now_s), now_s)

    def _write(self, frames: Sequence[EncodedFrame], now_s: float) -> None:
        for frame in frames:
            self._perform(self.segmenter.write(frame), now_s)

    def _perform(self, actions: Sequence[Action], now_s: float) -> None:
        for action in actions:
            if isinstance(action, AppendPart):
                for sample in action.samples:
                    number = struct.unpack("!I", sample.data[-4:])[0]
                    self.samples.append((number, sample.decode_time, sample.duration))
            elif isinstance(action, SetAnchor):
                self._record(self.clock.anchored(action.anchor), now_s)

    def close(self) -> None:
        """The recording ends."""
        self._write(self.stream.flush(STARTED_AT + self.duration_s).frames, self.duration_s)
        self._poll(self.duration_s)
        self._perform(self.segmenter.close(), self.duration_s)

    @property
    def mappings(self) -> list[ClockMapping]:
        """All mappings that were written down, superseded ones too."""
        return [record.entry for record in self.records if isinstance(record.entry, ClockMapping)]

    # The export

    def shown(self, view: TrackView) -> list[Shown]:
        """All recorded samples with their times in an export whose zero is the recording's."""
        retimer = Retimer(self.rate, 0.0)
        return [
            Shown(self.captured[number], retimer.place(view, decode_time, duration) / self.rate)
            for number, decode_time, duration in self.samples
        ]


@dataclass(frozen=True)
class SimulatedRecording:
    """What became of a simulated room: frames by participant and kind, in the order in which they were recorded."""

    tracks: dict[tuple[str, MediaKind], SimulatedTrack]
    shown: dict[tuple[str, MediaKind], list[Shown]]

    def lip_sync_ms(self, name: str) -> list[float]:
        """Picture minus sound, at each second at which both of a participant's tracks have a frame."""
        return self._differences_ms((name, MediaKind.VIDEO), (name, MediaKind.AUDIO))

    def between_ms(self, kind: MediaKind, first: str, second: str) -> list[float]:
        """One participant's minus another's."""
        return self._differences_ms((first, kind), (second, kind))

    def _differences_ms(self, first: tuple[str, MediaKind], second: tuple[str, MediaKind]) -> list[float]:
        one, other = ({round(item.captured_s, 3): item.error_s for item in self.shown[key]} for key in (first, second))
        return [1000 * (one[time_s] - other[time_s]) for time_s in one if time_s in other and time_s % 1 == 0]


def simulate(participants: Sequence[Participant], duration_s: float, seed: int = 1) -> SimulatedRecording:
    """Record the participants' camera and microphone for `duration_s` and place all samples as an export does."""
    tracks: dict[tuple[str, MediaKind], SimulatedTrack] = {}
    for participant in participants:
        offset = NtpOffset()
        for kind in (MediaKind.AUDIO, MediaKind.VIDEO):
            number = len(tracks) + 1
            tracks[participant.name, kind] = SimulatedTrack(participant, kind, number, duration_s, seed, offset)
    by_number = {track.number: track for track in tracks.values()}
    for arrival_s, number, item in merge(*(track.events() for track in tracks.values()), key=lambda event: event[:2]):
        by_number[number].receive(item, arrival_s)
    for track in tracks.values():
        track.close()
    started = JournalRecord(STARTED_AT, RecordingStarted("RM", "room", "", STARTED_AT))
    closed = JournalRecord(STARTED_AT + duration_s, RecordingClosed())
    records = (started, *(record for track in tracks.values() for record in track.records), closed)
    views = {view.number: view for view in view_from_records(Path("simulated"), records).tracks}
    shown = {key: track.shown(views[track.number]) for key, track in tracks.items()}
    return SimulatedRecording(tracks, shown)
