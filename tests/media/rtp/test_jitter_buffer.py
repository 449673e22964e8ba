"""The jitter buffer, case by case."""

from collections.abc import Iterable, Sequence

import pytest

from media.rtp.depacketise.h264 import H264Depacketiser
from media.rtp.depacketise.opus import OpusDepacketiser
from media.rtp.depacketise.vp8 import Vp8Depacketiser
from media.rtp.depacketise.vp9 import Vp9Depacketiser
from media.rtp.jitter_buffer import CompleteFrame, JitterBuffer, JitterBufferConfig
from media.rtp.packet import RtpPacket
from media.rtp.sequence import SequenceUnwrapper
from tests.media.rtp.packetisers import VP9_PAYLOAD_TYPE, Sender, vp8_frame, vp9_payloads

START = 1_700_000_000.0
# The start is settled after 0.1 s.
SETTLED = START + 0.11


class Receiver:
    """A buffer with the numbering that an inbound stream does for it."""

    def __init__(self, buffer: JitterBuffer) -> None:
        self.buffer = buffer
        self.sequences = SequenceUnwrapper()

    def receive(self, packets: Iterable[RtpPacket], now: float) -> None:
        for packet in packets:
            extended = self.sequences.unwrap(packet.sequence_number)
            if packet.payload:
                self.buffer.receive(packet, extended, now)
            else:
                self.buffer.consume(extended, now)

    def poll(self, now: float) -> list[list[int]]:
        return numbers(self.buffer.poll(now))


def numbers(frames: Iterable[CompleteFrame]) -> list[list[int]]:
    return [[packet.sequence_number for packet in frame.packets] for frame in frames]


def video(config: JitterBufferConfig | None = None) -> Receiver:
    return Receiver(JitterBuffer(Vp8Depacketiser(), config))


def frames_of(sender: Sender, count: int, packets_per_frame: int = 3) -> list[list[RtpPacket]]:
    """Frames 33 ms apart, numbered from 0 in their bodies."""
    size = 100 * packets_per_frame
    return [
        sender.vp8(vp8_frame(keyframe=index == 0, size=size, seed=index), 3000 * index, 100) for index in range(count)
    ]


def sent(frames: Sequence[Sequence[RtpPacket]]) -> list[list[int]]:
    return [[packet.sequence_number for packet in frame] for frame in frames]


def flat(frames: Iterable[Iterable[RtpPacket]]) -> list[RtpPacket]:
    return [packet for frame in frames for packet in frame]


def settled_video(config: JitterBufferConfig | None = None) -> tuple[Receiver, Sender]:
    """A receiver that has emitted a first frame."""
    receiver, sender = video(config), Sender(sequence_number=65_530)
    first = sender.vp8(vp8_frame(keyframe=True), 0)
    receiver.receive(first, START)
    assert receiver.poll(SETTLED) == sent([first])
    return receiver, sender


def test_a_frame_comes_out_with_its_last_packet() -> None:
    receiver, sender = settled_video()
    (frame,) = frames_of(sender, 1)
    receiver.receive(frame[:2], SETTLED)
    assert receiver.poll(SETTLED) == []
    receiver.receive(frame[2:], SETTLED + 0.01)
    (complete,) = receiver.buffer.poll(SETTLED + 0.01)
    assert complete.packets == frame
    assert complete.arrival_time == SETTLED
    assert not complete.discontinuity
    assert receiver.buffer.deadline is None


def test_the_start_waits_for_earlier_packets() -> None:
    receiver = video()
    first, second = frames_of(Sender(), 2)
    receiver.receive(second, START)
    receiver.receive(first[1:], START + 0.01)
    assert receiver.poll(START + 0.02) == []
    assert receiver.buffer.deadline == pytest.approx(START + 0.1)
    receiver.receive(first[:1], START + 0.05)
    assert receiver.poll(START + 0.1) == sent([first, second])


def test_a_start_within_a_frame_goes_on_with_the_next() -> None:
    receiver = video()
    first, second = frames_of(Sender(), 2)
    receiver.receive(first[1:] + second, START)
    (complete,) = receiver.buffer.poll(SETTLED)
    assert complete.packets == second
    assert complete.discontinuity
    assert receiver.buffer.frames_broken == 1


def test_reordered_packets_are_put_in_order() -> None:
    receiver, sender = settled_video()
    first, second = frames_of(sender, 2)
    receiver.receive([second[2], first[1], second[0], first[2]], SETTLED)
    assert receiver.poll(SETTLED) == []
    receiver.receive([second[1], first[0]], SETTLED + 0.01)
    frames = receiver.buffer.poll(SETTLED + 0.01)
    assert numbers(frames) == sent([first, second])
    assert [frame.arrival_time for frame in frames] == [SETTLED, SETTLED]
    assert not any(frame.discontinuity for frame in frames)


def test_duplicates_are_counted_and_nothing_else() -> None:
    receiver, sender = settled_video()
    first, second, third = frames_of(sender, 3)
    receiver.receive(first + first + second[1:] + second[1:] + second[:1] + first + third, SETTLED)
    assert receiver.poll(SETTLED) == sent([first, second, third])
    assert receiver.buffer.packets_duplicate == 8
    assert receiver.buffer.packets_late == 0


def test_a_hole_waits_two_seconds_and_costs_only_its_frame() -> None:
    receiver, sender = settled_video()
    frames = frames_of(sender, 4)
    receiver.receive(frames[0] + frames[1][:1] + frames[1][2:], SETTLED)
    receiver.receive(frames[2], SETTLED + 1)
    receiver.receive(frames[3], SETTLED + 1.9)
    assert receiver.poll(SETTLED + 1.9) == sent(frames[:1])
    assert receiver.buffer.deadline == pytest.approx(SETTLED + 2)
    complete = receiver.buffer.poll(SETTLED + 2)
    assert numbers(complete) == sent(frames[2:])
    assert [frame.discontinuity for frame in complete] == [True, False]
    assert receiver.buffer.frames_broken == 1
    assert receiver.buffer.holes_given_up == 1
    receiver.receive(frames[1][1:2], SETTLED + 2.1)
    assert receiver.poll(SETTLED + 2.1) == []
    assert (receiver.buffer.packets_late, receiver.buffer.packets_duplicate) == (1, 0)


def test_a_retransmission_in_time_leaves_no_trace() -> None:
    receiver, sender = settled_video()
    frames = frames_of(sender, 3)
    receiver.receive([frames[0][0], *frames[0][2:], *frames[1], *frames[2]], SETTLED)
    assert receiver.poll(SETTLED + 1.9) == []
    receiver.receive(frames[0][1:2], SETTLED + 1.95)
    complete = receiver.buffer.poll(SETTLED + 1.95)
    assert numbers(complete) == sent(frames)
    assert not any(frame.discontinuity for frame in complete)
    assert complete[0].arrival_time == SETTLED


def test_each_hole_waits_from_when_it_was_noticed() -> None:
    receiver, sender = settled_video()
    frames = frames_of(sender, 4)
    receiver.receive(frames[0][1:], SETTLED)
    receiver.receive(frames[1] + frames[2][1:], SETTLED + 0.5)
    receiver.receive(frames[3], SETTLED + 1)
    assert receiver.poll(SETTLED + 2) == sent(frames[1:2])
    assert receiver.buffer.deadline == pytest.approx(SETTLED + 2.5)
    assert receiver.poll(SETTLED + 2.5) == sent(frames[3:])
    assert receiver.buffer.frames_broken == 2


def test_one_early_hole_does_not_hold_up_the_rest() -> None:
    """What wedges aiortc's buffer: a packet lost at the start, then a long stream in order."""
    receiver = video()
    frames = frames_of(Sender(), 400)
    got: list[list[int]] = []
    for index, frame in enumerate(frames):
        now = START + index / 30
        receiver.receive(frame[:1] + frame[2:] if index == 0 else frame, now)
        got += receiver.poll(now)
    assert got == sent(frames[1:])


def test_padding_takes_numbers_and_makes_no_frames() -> None:
    receiver, sender = settled_video()
    (first,) = frames_of(sender, 1)
    padding = [sender.padding(0) for _ in range(3)]
    second = sender.vp8(vp8_frame(keyframe=False), 3000)
    receiver.receive(first + padding + second, SETTLED)
    complete = receiver.buffer.poll(SETTLED)
    assert numbers(complete) == sent([first, second])
    assert not any(frame.discontinuity for frame in complete)


def test_lost_padding_is_seen_by_the_picture_id() -> None:
    """The server never sends padding again: to wait for it would cost two seconds each time."""
    receiver, sender = settled_video()
    padding = [sender.padding(0) for _ in range(5)]
    (frame,) = frames_of(sender, 1)
    receiver.receive(frame, SETTLED)
    complete = receiver.buffer.poll(SETTLED)
    assert numbers(complete) == sent([frame])
    assert not complete[0].discontinuity
    assert receiver.buffer.holes_of_padding == 1
    receiver.receive(padding, SETTLED)
    assert receiver.poll(SETTLED) == []


def test_lost_padding_among_padding_is_seen_too() -> None:
    receiver, sender = settled_video()
    padding = [sender.padding(0) for _ in range(5)]
    (frame,) = frames_of(sender, 1)
    receiver.receive([padding[3], padding[2]], SETTLED)
    receiver.receive(frame, SETTLED)
    assert receiver.poll(SETTLED) == []
    receiver.receive([padding[4]], SETTLED)
    assert receiver.poll(SETTLED) == sent([frame])


def test_a_lost_frame_is_not_taken_for_padding() -> None:
    receiver, sender = settled_video()
    _, second = frames_of(sender, 2)
    receiver.receive(second, SETTLED)
    assert receiver.poll(SETTLED + 1.9) == []
    assert receiver.buffer.poll(SETTLED + 2)[0].discontinuity


def test_lost_padding_of_h264_is_waited_for() -> None:
    receiver, sender = Receiver(JitterBuffer(H264Depacketiser())), Sender()
    first = sender.frame([b"\x41\xe0ab"], 0)
    receiver.receive(first, START)
    assert receiver.poll(SETTLED) == sent([first])
    sender.padding(0)
    second = sender.frame([b"\x41\xe0ab"], 3000)
    receiver.receive(second, SETTLED)
    assert receiver.poll(SETTLED + 1.9) == []
    assert receiver.poll(SETTLED + 2) == sent([second])


def test_after_a_hole_a_frame_without_proof_of_its_start_is_dropped() -> None:
    receiver, sender = Receiver(JitterBuffer(H264Depacketiser())), Sender()
    first = sender.frame([b"\x41\xe0ab"], 0)
    receiver.receive(first, START)
    sender.packet(b"\x67 a new SPS, lost", 3000)
    idr = sender.frame([b"\x65\xb8ab", b"\x65\x05ab"], 3000)
    after = sender.frame([b"\x41\xe0ab"], 6000)
    receiver.receive(idr + after, SETTLED)
    assert receiver.poll(SETTLED + 3) == sent([first, after])
    assert receiver.buffer.frames_broken == 1


def test_without_a_hole_before_it_a_frame_needs_no_proof_of_its_start() -> None:
    receiver, sender = Receiver(JitterBuffer(H264Depacketiser())), Sender()
    frames = [sender.frame([b"\x06\x05\x01\x00\x80", b"\x65\xb8ab"], 3000 * index) for index in range(3)]
    first = sender.frame([b"\x41\xe0ab"], 9000)
    receiver.receive(flat(frames) + first, START)
    assert receiver.poll(SETTLED) == sent([*frames[1:], first])


def test_without_any_markers_the_next_timestamp_ends_a_frame() -> None:
    receiver, sender = video(), Sender()
    frames = [
        sender.frame([b"\x10" + vp8_frame(keyframe=True)[:60], b"\x00rest"], 3000 * index, marker=False)
        for index in range(3)
    ]
    receiver.receive(flat(frames), START)
    assert receiver.poll(SETTLED) == sent(frames[:2])


def test_a_frame_cut_by_a_layer_switch_is_dropped() -> None:
    receiver, sender = settled_video()
    cut = sender.vp8(vp8_frame(keyframe=False, size=300), 3000, 100)[:2]
    sender.sequence_number = cut[-1].sequence_number + 1 & 0xFFFF
    switched = sender.vp8(vp8_frame(keyframe=True), 3001)
    receiver.receive(cut + switched, SETTLED)
    (complete,) = receiver.buffer.poll(SETTLED)
    assert complete.packets == switched
    assert (complete.discontinuity, complete.after_cut) == (False, True)
    assert (receiver.buffer.frames_cut, receiver.buffer.frames_broken) == (1, 0)
    receiver.receive(sender.vp8(vp8_frame(keyframe=False), 6000), SETTLED)
    assert not receiver.buffer.poll(SETTLED)[0].after_cut


def test_the_number_of_waiting_packets_is_bounded() -> None:
    receiver, sender = settled_video(JitterBufferConfig(max_packets=20))
    frames = frames_of(sender, 12)
    receiver.receive(frames[0][1:], SETTLED)
    receiver.receive(flat(frames[1:]), SETTLED)
    assert receiver.buffer.overflows == 1
    assert receiver.poll(SETTLED) == sent(frames[1:])
    assert receiver.buffer.waiting_packets == 0


def test_the_bytes_of_waiting_packets_are_bounded() -> None:
    receiver, sender = settled_video(JitterBufferConfig(max_bytes=1000))
    frames = frames_of(sender, 12)
    receiver.receive(frames[0][1:], SETTLED)
    receiver.receive(flat(frames[1:]), SETTLED)
    assert receiver.buffer.overflows == 1
    assert receiver.poll(SETTLED) == sent(frames[1:])
    receiver.receive(sender.vp8(vp8_frame(keyframe=False, size=900), 99_999, 900), SETTLED)
    assert len(receiver.poll(SETTLED)) == 1


def test_a_frame_that_never_ends_is_bounded() -> None:
    receiver, sender = settled_video(JitterBufferConfig(max_packets=20))
    endless = [sender.packet(b"\x10" + bytes(20), 3000) for _ in range(100)]
    receiver.receive(endless, SETTLED)
    assert receiver.poll(SETTLED) == []
    assert receiver.buffer.overflows == 1
    assert len(receiver.buffer._frame) == 0
    sender.picture_id += 1
    after = sender.vp8(vp8_frame(keyframe=True), 6000)
    receiver.receive(after, SETTLED)
    assert receiver.poll(SETTLED) == sent([after])


def test_a_flush_gives_up_all_holes() -> None:
    receiver, sender = settled_video()
    frames = frames_of(sender, 3)
    receiver.receive(frames[0][1:] + frames[1] + frames[2][:2], SETTLED)
    assert numbers(receiver.buffer.flush()) == sent(frames[1:2])
    assert receiver.buffer.frames_broken == 2
    assert receiver.buffer.deadline is None


def test_a_restart_keeps_what_was_whole_and_settles_anew() -> None:
    receiver, sender = settled_video()
    frames = frames_of(sender, 2)
    receiver.receive(frames[0][1:] + frames[1], SETTLED)
    receiver.buffer.restart()
    receiver.sequences.restart(12_345)
    sender.sequence_number = 12_345
    after = sender.vp8(vp8_frame(keyframe=True), 90_000)
    receiver.receive(after, SETTLED)
    complete = receiver.buffer.poll(SETTLED + 0.2)
    assert numbers(complete) == sent([frames[1], after])
    assert complete[1].discontinuity


def test_each_audio_packet_is_a_frame_whatever_its_marker() -> None:
    receiver = Receiver(JitterBuffer(OpusDepacketiser(), packet_is_frame=True))
    sender = Sender()
    packets = [sender.packet(b"\x78", 960 * index, marker=index % 3 == 0) for index in range(6)]
    receiver.receive(packets[:2], START)
    assert receiver.poll(SETTLED) == [[packet.sequence_number] for packet in packets[:2]]
    receiver.receive(packets[3:], SETTLED)
    assert receiver.poll(SETTLED + 1.9) == []
    complete = receiver.buffer.poll(SETTLED + 2)
    assert numbers(complete) == [[packet.sequence_number] for packet in packets[3:]]
    assert [frame.discontinuity for frame in complete] == [True, False, False]


def test_a_picture_whose_upper_layers_the_server_left_out_needs_no_marker() -> None:
    receiver = Receiver(JitterBuffer(Vp9Depacketiser()))
    sender = Sender(payload_type=VP9_PAYLOAD_TYPE)
    with_marker = sender.frame(vp9_payloads([b"\x86" * 300], 1, 100), 0)
    without = sender.frame(vp9_payloads([b"\x86" * 300], 2, 100), 3000, marker=False)
    cut = sender.frame(vp9_payloads([b"\x86" * 300], 3, 100)[:2], 6000, marker=False)
    after = sender.frame(vp9_payloads([b"\x86" * 300], 4, 100), 9000)
    receiver.receive(with_marker + without + cut + after, START)
    frames = receiver.buffer.poll(SETTLED)
    assert numbers(frames) == sent([with_marker, without, after])
    assert [frame.after_cut for frame in frames] == [False, False, True]
    assert not any(frame.discontinuity for frame in frames)
