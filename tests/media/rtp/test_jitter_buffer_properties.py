"""The jitter buffer under any pattern of loss, reordering and duplication."""

from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import example, given, settings
from hypothesis import strategies as st

from media.rtp.depacketise.depacketiser import Depacketiser
from media.rtp.depacketise.h264 import H264Depacketiser
from media.rtp.depacketise.opus import OpusDepacketiser
from media.rtp.depacketise.vp8 import Vp8Depacketiser
from media.rtp.jitter_buffer import CompleteFrame, JitterBuffer, JitterBufferConfig
from media.rtp.packet import RtpPacket
from media.rtp.sequence import SequenceUnwrapper
from tests.media.rtp.packetisers import Sender, vp8_frame

START = 1_700_000_000.0
FRAME_S = 0.033
CONFIG = JitterBufferConfig(max_wait_s=2.0, start_wait_s=0.1)


@dataclass(frozen=True)
class Fate:
    """What becomes of one packet: None or the milliseconds until each of its copies arrives."""

    arrivals_ms: tuple[int, ...]


LOST = Fate(())
PROMPT = Fate((0,))
# Reordering stays below the 100 ms that the start waits.
BOUNDED = st.one_of(
    st.just(LOST),
    st.just(PROMPT),
    st.builds(lambda delay: Fate((delay,)), st.integers(0, 90)),
    st.builds(lambda first, second: Fate((first, second)), st.integers(0, 90), st.integers(0, 90)),
)
UNBOUNDED = st.one_of(BOUNDED, st.builds(lambda delay: Fate((delay,)), st.integers(0, 5000)))


def frames_with(fate: st.SearchStrategy[Fate]) -> st.SearchStrategy[list[list[Fate]]]:
    """Frames of one to four packets; an empty list is a padding packet that arrives."""
    return st.lists(st.lists(fate, min_size=0, max_size=4), min_size=1, max_size=25)


class Run:
    """Sends frames with their fates through a buffer that is polled as a shell would."""

    def __init__(
        self,
        depacketiser: Depacketiser,
        make_frame: Callable[[Sender, int, int], list[RtpPacket]],
        frames: list[list[Fate]],
    ) -> None:
        self.buffer = JitterBuffer(depacketiser, CONFIG, packet_is_frame=depacketiser.packet_is_frame)
        self.sequences = SequenceUnwrapper()
        self.frames: list[list[RtpPacket]] = []
        self.arrived: list[list[RtpPacket]] = []
        self.out: list[CompleteFrame] = []
        sender = Sender(sequence_number=65_520)
        events: list[tuple[float, int, RtpPacket]] = []
        for index, fates in enumerate(frames):
            now = START + index * FRAME_S
            packets = make_frame(sender, index, len(fates)) if fates else [sender.padding(0)]
            for packet, fate in zip(packets, fates or [PROMPT], strict=True):
                events.extend((now + ms / 1000, len(events), packet) for ms in fate.arrivals_ms)
            if fates:
                self.frames.append(packets)
                if all(fate.arrivals_ms for fate in fates):
                    self.arrived.append(packets)
        for arrival, _, packet in sorted(events, key=lambda event: event[:2]):
            self.poll_until(arrival)
            extended = self.sequences.unwrap(packet.sequence_number)
            if packet.payload:
                self.buffer.receive(packet, extended, arrival)
            else:
                self.buffer.consume(extended, arrival)
            self.out += self.buffer.poll(arrival)
        self.poll_until(float("inf"))

    def poll_until(self, now: float) -> None:
        """Poll at each deadline before `now`; a deadline that does not move on would never end."""
        for _ in range(10_000):
            deadline = self.buffer.deadline
            if deadline is None or deadline > now:
                return
            self.out += self.buffer.poll(deadline)
        raise AssertionError("the deadline does not move on")

    @property
    def emitted(self) -> list[list[RtpPacket]]:
        return [frame.packets for frame in self.out]


def make_vp8(sender: Sender, index: int, packets: int) -> list[RtpPacket]:
    return sender.vp8(vp8_frame(keyframe=False, size=50 * packets, seed=index), 3000 * index, 50)


def make_h264(sender: Sender, index: int, packets: int) -> list[RtpPacket]:
    """A slice that fits one packet, or the fragments of one."""
    if packets == 1:
        return sender.frame([b"\x41\xe0"], 3000 * index)
    flags = [0x81, *[0x01] * (packets - 2), 0x41]
    return sender.frame([bytes((0x5C, flag)) + b"\xe0ab" for flag in flags], 3000 * index)


def make_opus(sender: Sender, index: int, packets: int) -> list[RtpPacket]:
    return [sender.packet(b"\x78", 960 * index + number) for number in range(packets)]


@settings(max_examples=150, deadline=None)
@given(frames_with(BOUNDED))
@example([[PROMPT, LOST, PROMPT], *[[PROMPT]] * 20])
@example([[LOST], [PROMPT], [LOST], [PROMPT]])
def test_every_vp8_frame_that_arrived_comes_out_once_and_in_order(frames: list[list[Fate]]) -> None:
    run = Run(Vp8Depacketiser(), make_vp8, frames)
    assert run.emitted == run.arrived


@settings(max_examples=100, deadline=None)
@given(frames_with(BOUNDED))
def test_every_h264_frame_that_arrived_comes_out_once_and_in_order(frames: list[list[Fate]]) -> None:
    run = Run(H264Depacketiser(), make_h264, frames)
    assert run.emitted == run.arrived


@settings(max_examples=100, deadline=None)
@given(frames_with(BOUNDED))
def test_every_opus_packet_that_arrived_comes_out_once_and_in_order(frames: list[list[Fate]]) -> None:
    run = Run(OpusDepacketiser(), make_opus, frames)
    arrived = [
        [packet]
        for packets, fates in zip(run.frames, filter(None, frames), strict=True)
        for packet, fate in zip(packets, fates, strict=True)
        if fate.arrivals_ms
    ]
    assert run.emitted == arrived


@settings(max_examples=100, deadline=None)
@given(frames_with(UNBOUNDED))
def test_whatever_is_late_no_frame_is_incomplete_doubled_or_out_of_order(frames: list[list[Fate]]) -> None:
    run = Run(Vp8Depacketiser(), make_vp8, frames)
    positions = [run.frames.index(packets) for packets in run.emitted]
    assert positions == sorted(set(positions))
    assert all(packets in run.arrived for packets in run.emitted)


@settings(max_examples=100, deadline=None)
@given(frames_with(UNBOUNDED))
def test_after_any_pattern_all_frames_come_out_again(frames: list[list[Fate]]) -> None:
    # Six seconds without a frame let the latest packets arrive; then all is well.
    clean = [[PROMPT, PROMPT]] * 10
    run = Run(Vp8Depacketiser(), make_vp8, [*frames, *[[]] * 180, *clean])
    assert run.emitted[-10:] == run.frames[-10:]
    assert run.buffer.deadline is None


@settings(max_examples=100, deadline=None)
@given(frames_with(BOUNDED))
def test_a_frame_is_marked_where_and_only_where_one_before_it_is_missing(frames: list[list[Fate]]) -> None:
    run = Run(Vp8Depacketiser(), make_vp8, frames)
    positions = [run.frames.index(packets) for packets in run.emitted]
    for frame, position, before in zip(run.out[1:], positions[1:], positions, strict=False):
        assert frame.discontinuity is (position != before + 1)
