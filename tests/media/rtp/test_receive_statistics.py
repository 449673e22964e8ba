"""Statistics against RFC 3550 and the formulas of W3C webrtc-stats."""

import aiortc.rtp
import pytest
from aiortc.rtcrtpreceiver import StreamStatistics
from hypothesis import given, settings
from hypothesis import strategies as st

from media.rtp.freeze import FreezeDetector
from media.rtp.packet import RtpPacket
from media.rtp.receive_statistics import ReceiveStatistics
from media.rtp.rtcp import SenderReport, unix_to_ntp
from media.rtp.sequence import SequenceUnwrapper
from tests.media.rtp.packetisers import SSRC, Sender

START = 1_700_000_000.0


class Counted:
    """Statistics with the numbering that an inbound stream does for them."""

    def __init__(self, clock_rate: int = 90_000) -> None:
        self.statistics = ReceiveStatistics(clock_rate)
        self.sequences = SequenceUnwrapper()

    def receive(self, packet: RtpPacket, now: float = START) -> None:
        self.statistics.receive(packet, self.sequences.unwrap(packet.sequence_number), now)


def packets(count: int, sender: Sender | None = None) -> list[RtpPacket]:
    sender = sender or Sender(sequence_number=65_530)
    return [sender.packet(b"12345", 3000 * index, padding=10 * (index % 2)) for index in range(count)]


def test_bytes_are_payload_headers_and_padding_apart() -> None:
    counted = Counted()
    for packet in packets(4):
        counted.receive(packet)
    statistics = counted.statistics
    assert (statistics.packets_received, statistics.payload_bytes) == (4, 20)
    assert statistics.total_bytes - statistics.payload_bytes == 4 * 12 + 2 * 10
    assert statistics.last_arrival == START


@settings(max_examples=50)
@given(st.lists(st.sampled_from(["ok", "lost", "twice", "swap"]), min_size=2, max_size=200))
def test_loss_is_counted_as_aiortc_counts_it(fates: list[str]) -> None:
    counted, reference = Counted(), StreamStatistics(90_000)
    order: list[RtpPacket] = []
    for packet, fate in zip(packets(len(fates)), fates, strict=True):
        if fate == "swap" and len(order) > 1:
            order.insert(len(order) - 1, packet)
        elif fate != "lost":
            order.extend([packet] * (2 if fate == "twice" else 1))
    for packet in order:
        counted.receive(packet)
        reference.add(aiortc.rtp.RtpPacket.parse(packet.serialize()))
    if order:
        assert counted.statistics.packets_lost == reference.packets_lost


def test_packets_reordered_around_the_start_are_expected_too() -> None:
    counted = Counted()
    first, second, third, *_ = packets(3)
    for packet in (third, first, second):
        counted.receive(packet)
    assert counted.statistics.packets_lost == 0


def test_a_report_block_tells_the_loss_since_the_last_one() -> None:
    counted = Counted()
    sent = packets(30)
    for packet in sent[:10]:
        counted.receive(packet)
    first = counted.statistics.report_block(SSRC, START)
    assert (first.ssrc, first.fraction_lost, first.packets_lost) == (SSRC, 0, 0)
    assert first.highest_sequence == 65_530 + 9
    for packet in sent[10:20:2]:
        counted.receive(packet)
    second = counted.statistics.report_block(SSRC, START)
    assert second.packets_lost == 4
    assert second.fraction_lost == int(256 * 4 / 9)
    assert counted.statistics.fraction_lost == pytest.approx(4 / 9)
    nothing = counted.statistics.report_block(SSRC, START)
    assert (nothing.fraction_lost, nothing.packets_lost) == (0, 4)
    for packet in sent[10:20]:
        counted.receive(packet)
    late = counted.statistics.report_block(SSRC, START)
    assert late.fraction_lost == 0
    assert late.packets_lost == -5


def test_a_report_block_answers_the_last_sender_report() -> None:
    counted = Counted()
    counted.receive(packets(1)[0])
    assert counted.statistics.report_block(SSRC, START).lsr == 0
    ntp_timestamp = unix_to_ntp(START - 1)
    report = SenderReport(SSRC, ntp_timestamp, START - 1, 0, 0, 0)
    counted.statistics.handle_sender_report(report, START)
    block = counted.statistics.report_block(SSRC, START + 1.5)
    assert block.lsr == ntp_timestamp >> 16 & 0xFFFF_FFFF
    assert block.dlsr == round(1.5 * 65536)


def test_another_source_has_not_reported_yet() -> None:
    counted = Counted()
    counted.receive(packets(1)[0])
    counted.statistics.handle_sender_report(SenderReport(SSRC, unix_to_ntp(START), START, 0, 0, 0), START)
    counted.statistics.reset_source()
    block = counted.statistics.report_block(SSRC, START + 1)
    assert (block.lsr, block.dlsr) == (0, 0)


def test_a_restart_of_the_sequence_is_no_loss() -> None:
    counted = Counted()
    sent = packets(10)
    for packet in sent[:4] + sent[6:]:
        counted.receive(packet)
    counted.statistics.restart_sequence()
    counted.sequences.restart(30_000)
    for packet in packets(5, Sender(sequence_number=30_000)):
        counted.receive(packet)
    assert counted.statistics.packets_lost == 2
    block = counted.statistics.report_block(SSRC, START)
    assert block.highest_sequence & 0xFFFF == 30_004
    assert counted.statistics.packets_received == 13


def test_jitter_follows_rfc_3550() -> None:
    counted = Counted(clock_rate=1000)
    sender = Sender()
    jitter = 0.0
    transit = None
    for index, late_ms in enumerate([0, 4, 0, 12, 3, 3, 0]):
        arrival_ms = 20 * index + late_ms
        counted.receive(sender.packet(b"x", 20 * index), START + arrival_ms / 1000)
        if transit is not None:
            jitter += (abs(late_ms - transit) - jitter) / 16
        transit = late_ms
    assert counted.statistics.jitter_s == pytest.approx(jitter / 1000, rel=1e-3)
    assert counted.statistics.report_block(SSRC, START).jitter == int(jitter)


def test_packets_of_one_frame_and_reordered_ones_are_no_jitter() -> None:
    counted = Counted()
    sender = Sender()
    first = [sender.packet(b"x", 0) for _ in range(5)]
    second = [sender.packet(b"x", 3000) for _ in range(5)]
    for index, packet in enumerate(first):
        counted.receive(packet, START + index / 1000)
    counted.receive(second[0], START + 3000 / 90_000)
    for index, packet in enumerate([*second[1:], first[0]]):
        counted.receive(packet, START + 1 + index)
    assert counted.statistics.jitter_s == pytest.approx(0, abs=1e-6)


def test_a_clock_set_anew_is_no_jitter() -> None:
    counted = Counted()
    sender = Sender()
    for timestamp in (0, 3000, 3_000_000_000, 3_000_003_000):
        counted.receive(sender.packet(b"x", timestamp), START)
    assert counted.statistics.jitter_s < 0.01


def test_retransmissions_are_received_but_not_of_the_stream() -> None:
    counted = Counted()
    sent = packets(3)
    counted.receive(sent[0])
    counted.receive(sent[2])
    counted.statistics.receive_rtx(Sender().rtx(sent[1]), START)
    statistics = counted.statistics
    assert (statistics.packets_received, statistics.retransmitted_packets) == (3, 1)
    assert statistics.retransmitted_bytes == 7
    assert statistics.payload_bytes == 17
    assert statistics.packets_lost == 1


def play(detector: FreezeDetector, durations: list[float]) -> None:
    now = START
    detector.frame(now)
    for duration in durations:
        now += duration
        detector.frame(now)


def test_a_freeze_is_three_averages_or_150_ms_above_the_average() -> None:
    slow, fast = FreezeDetector(), FreezeDetector()
    play(slow, [0.1] * 30 + [0.299, 0.1])
    assert slow.freeze_count == 0
    slow = FreezeDetector()
    play(slow, [0.1] * 30 + [0.301])
    assert slow.freeze_count == 1
    assert slow.total_freezes_duration == pytest.approx(0.301)
    play(fast, [0.04] * 30 + [0.189])
    assert fast.freeze_count == 0
    fast = FreezeDetector()
    play(fast, [0.04] * 30 + [0.191, 0.04, 0.4])
    assert fast.freeze_count == 2
    assert fast.total_freezes_duration == pytest.approx(0.591)


def test_the_average_is_over_thirty_frames() -> None:
    detector = FreezeDetector()
    play(detector, [0.5] * 10 + [0.04] * 30 + [0.2])
    assert detector.freeze_count == 1


def test_more_than_five_seconds_is_a_pause() -> None:
    detector = FreezeDetector()
    play(detector, [0.04] * 30 + [5.1, 0.04])
    assert detector.freeze_count == 0
    assert detector.pause_count == 1
    assert detector.total_pauses_duration == pytest.approx(5.1)


def test_a_pause_on_purpose_is_neither() -> None:
    detector = FreezeDetector()
    play(detector, [0.04] * 30)
    detector.interrupt()
    detector.frame(START + 60)
    detector.frame(START + 60.04)
    assert (detector.freeze_count, detector.pause_count) == (0, 0)
