"""Redundant audio (RFC 2198) through an inbound stream: what is lost comes out of what follows."""

from collections.abc import Collection

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.errors import RtpError
from media.frames import Codec, EncodedFrame
from media.rtp.inbound_stream import InboundStream, InboundStreamConfig
from media.rtp.packet import RtpPacket
from media.rtp.red import split_red
from tests.media.rtp.packetisers import OPUS_PAYLOAD_TYPE, RED_PAYLOAD_TYPE, SSRC, Sender, red_payload

START = 1_700_000_000.0
FRAME_S = 0.02
TICKS = 960


def opus(number: int) -> bytes:
    """A packet of 20 ms (CELT, one frame) that tells its number."""
    return b"\xf8" + number.to_bytes(4, "big")


class Red:
    """Sends numbered packets as libwebrtc does: each with the `depth` before it. DTX: numbers left out of the time."""

    def __init__(self, depth: int = 2) -> None:
        self.depth = depth
        self.sender = Sender(payload_type=RED_PAYLOAD_TYPE, sequence_number=65_530)
        self.history: list[tuple[int, bytes]] = []

    def packet(self, number: int) -> RtpPacket:
        timestamp = TICKS * number
        redundant = [(timestamp - then, block) for then, block in self.history if timestamp - then < 1 << 14]
        self.history = [*self.history, (timestamp, opus(number))][-self.depth :]
        return self.sender.packet(red_payload(opus(number), redundant), timestamp)


def stream() -> InboundStream:
    return InboundStream(
        InboundStreamConfig(
            codecs={OPUS_PAYLOAD_TYPE: Codec.OPUS}, red={RED_PAYLOAD_TYPE: OPUS_PAYLOAD_TYPE}, nack=False
        )
    )


def run(packets: list[RtpPacket], lost: Collection[int] = ()) -> tuple[list[EncodedFrame], InboundStream]:
    """The frames that come of the packets without those at the indices `lost`, 20 ms apart."""
    receiver = stream()
    frames: list[EncodedFrame] = []
    for index, packet in enumerate(packets):
        now = START + FRAME_S * index
        if index not in lost:
            receiver.receive(packet, now)
        frames += receiver.poll(now).frames
    frames += receiver.flush(START + FRAME_S * len(packets) + 1).frames
    return frames, receiver


def numbers(frames: list[EncodedFrame]) -> list[int]:
    return [int.from_bytes(frame.data[1:5], "big") for frame in frames]


@pytest.mark.parametrize("depth", [1, 2])
def test_primaries_come_out_plain(depth: int) -> None:
    red = Red(depth)
    frames, receiver = run([red.packet(number) for number in range(10, 40)])
    assert [frame.data for frame in frames] == [opus(number) for number in range(10, 40)]
    assert [frame.rtp_timestamp for frame in frames] == [TICKS * number for number in range(10, 40)]
    assert {frame.codec for frame in frames} == {Codec.OPUS}
    assert receiver.stats(START + 2).packets_repaired == 0


@pytest.mark.parametrize("lost", [{10}, {10, 11}, {10, 12, 14}, {10, 11, 13, 14, 20}])
def test_lost_packets_come_from_those_after_them(lost: set[int]) -> None:
    red = Red()
    frames, receiver = run([red.packet(number) for number in range(30)], lost)
    assert numbers(frames) == list(range(30))
    assert not any(frame.discontinuity for frame in frames)
    stats = receiver.stats(START + 2)
    assert (stats.packets_repaired, stats.packets_lost) == (len(lost), len(lost))


def test_more_in_a_row_than_the_redundancy_holds_is_a_gap_before_what_could_be_saved() -> None:
    red = Red()
    frames, receiver = run([red.packet(number) for number in range(30)], {10, 11, 12, 13})
    assert numbers(frames) == [*range(10), *range(12, 30)]
    assert [frame.rtp_timestamp // TICKS for frame in frames if frame.discontinuity] == [12]
    assert receiver.stats(START + 2).packets_repaired == 2


@pytest.mark.parametrize("plain", [False, True])
def test_a_late_packet_whose_place_was_filled_is_left_out_and_then_nothing_was_repaired(plain: bool) -> None:
    red = Red()
    packets = [red.packet(number) for number in range(20)]
    late = packets.pop(9)
    if plain:
        late = late.carried(OPUS_PAYLOAD_TYPE, late.payload_end - len(opus(9)))
    packets.insert(12, late)
    frames, receiver = run(packets)
    assert numbers(frames) == list(range(20))
    stats = receiver.stats(START + 2)
    assert (stats.packets_received, stats.packets_repaired, stats.packets_duplicated) == (20, 0, 0)


def test_silence_of_discontinuous_transmission_is_neither_lost_nor_marked() -> None:
    red = Red()
    talk = [*range(10), 29, 49, 69, *range(75, 85)]
    frames, receiver = run([red.packet(number) for number in talk])
    assert numbers(frames) == talk
    assert [frame.rtp_timestamp for frame in frames] == [TICKS * number for number in talk]
    assert not any(frame.discontinuity for frame in frames)
    assert receiver.stats(START + 2).packets_lost == 0


@pytest.mark.parametrize("lost", [{9}, {10}, {12}, {13}])
def test_what_is_lost_around_silence_is_recovered_where_it_is_repeated(lost: set[int]) -> None:
    red = Red()
    talk = [*range(10), 15, 20, 25, *range(28, 40)]
    frames, _ = run([red.packet(number) for number in talk], lost)
    assert numbers(frames) == talk


def test_a_server_that_lost_a_packet_itself_repeats_the_one_before() -> None:
    """livekit-server makes RED of plain Opus: where one never reached it, the number stays free."""
    sender = Sender(payload_type=RED_PAYLOAD_TYPE, sequence_number=100)
    packets = []
    for number in range(12):
        redundant = [(TICKS * back, opus(number - back)) for back in (2, 1) if number - back not in {-2, -1, 5}]
        packets.append(sender.packet(red_payload(opus(number), redundant), TICKS * number))
    # Number 5 never came to the server, 4 is lost on the way here.
    frames, receiver = run(packets, {4, 5})
    assert numbers(frames) == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    assert [frame.discontinuity for frame in frames] == [number == 6 for number in numbers(frames)]
    assert receiver.stats(START + 2).packets_repaired == 1
    # 5 is only late: its place is still free.
    packets = [*packets[:4], packets[6], packets[5], *packets[7:]]
    frames, _ = run(packets)
    assert numbers(frames) == list(range(12))


def test_plain_packets_among_redundant_ones_are_taken() -> None:
    red = Red()
    packets = [red.packet(number) for number in range(12)]
    plain = packets[5]
    packets[5] = RtpPacket.build(
        payload_type=OPUS_PAYLOAD_TYPE,
        sequence_number=plain.sequence_number,
        timestamp=plain.timestamp,
        ssrc=SSRC,
        payload=opus(5),
    )
    for lost in ((), {4}, {6}):
        frames, _ = run(packets, lost)
        assert numbers(frames) == list(range(12))


def test_a_block_of_another_codec_and_an_empty_one_recover_nothing() -> None:
    sender = Sender(payload_type=RED_PAYLOAD_TYPE)
    other = bytes((0x80 | 13,)) + (TICKS << 10 | 1).to_bytes(3, "big") + b"\x6f" + b"n" + opus(2)
    packets = [
        sender.packet(red_payload(opus(0)), 0),
        sender.packet(red_payload(opus(1)), TICKS),
        sender.packet(other, 2 * TICKS),
        sender.packet(red_payload(opus(3)), 3 * TICKS),
        sender.packet(red_payload(opus(4), [(TICKS, b"")]), 4 * TICKS),
    ]
    frames, receiver = run(packets, {1, 3})
    assert numbers(frames) == [0, 2, 4]
    assert receiver.stats(START + 2).packets_repaired == 0


def test_an_empty_primary_is_no_frame_and_no_loss() -> None:
    red = Red()
    packets = [red.packet(number) for number in range(5)]
    packets += [red.sender.packet(red_payload(b""), 5 * TICKS)]
    packets += [red.packet(number) for number in range(6, 10)]
    frames, _ = run(packets)
    assert numbers(frames) == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    assert not any(frame.discontinuity for frame in frames)


MALFORMED = {
    "nothing": b"",
    "a header cut short": b"\xef\x00",
    "no primary header": b"\xef\x0f\x00\x01",
    "a block beyond the end": b"\xef\x0f\x00\x09\x6fabc",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_red_is_counted_and_passed_over(name: str) -> None:
    red = Red()
    packets = [red.packet(number) for number in range(5)]
    packets[3] = RtpPacket.build(
        payload_type=RED_PAYLOAD_TYPE,
        sequence_number=packets[3].sequence_number,
        timestamp=packets[3].timestamp,
        ssrc=SSRC,
        payload=MALFORMED[name],
    )
    with pytest.raises(RtpError):
        split_red(packets[3])
    frames, receiver = run(packets)
    assert numbers(frames) == [0, 1, 2, 4]
    assert receiver.stats(START + 2).packets_discarded == 1


def test_a_late_packet_that_was_recovered_in_the_place_of_a_lost_one_comes_out_once() -> None:
    red = Red(1)
    packets = [red.packet(number) for number in (1, 2, 3, 4, 6)]
    late = packets.pop(3)
    frames, _ = run([*packets, late], {2})
    assert numbers(frames) == [1, 2, 4, 6]


def test_another_source_starts_anew() -> None:
    receiver = stream()
    frames: list[EncodedFrame] = []
    for base in (0, 0, 50):
        red = Red()
        for index in range(5):
            receiver.receive(red.packet(base + index), START + index * FRAME_S)
        receiver.reset(START + 1)
        frames += receiver.poll(START + 1).frames
    assert numbers(frames) == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 50, 51, 52, 53, 54]


@settings(max_examples=150, deadline=None)
@given(
    depth=st.integers(1, 3),
    steps=st.lists(st.sampled_from([1, 1, 1, 1, 1, 2, 5, 20]), min_size=5, max_size=60),
    fates=st.lists(st.sampled_from([0, 0, 0, 1, 2, 3, None]), min_size=60, max_size=60),
)
def test_whatever_is_lost_late_or_doubled_all_that_came_comes_out_once_and_in_order(
    depth: int, steps: list[int], fates: list[int | None]
) -> None:
    """A fate is by how many packets one comes late, up to 60 ms; None is lost, 3 comes twice."""
    red = Red(depth)
    sent: list[int] = []
    for step in steps:
        sent.append((sent[-1] if sent else 0) + step)
    packets = [red.packet(number) for number in sent]
    receiver = stream()
    arrivals = []
    came: set[int] = set()
    for index, (packet, fate) in enumerate(zip(packets, [0, *fates[1:]], strict=False)):
        if fate is None:
            continue
        came.add(index)
        arrivals += [(index + fate, index, packet)] + ([(index, index, packet)] if fate == 3 else [])
    frames: list[EncodedFrame] = []
    for slot, _, packet in sorted(arrivals, key=lambda arrival: arrival[:2]):
        receiver.receive(packet, START + FRAME_S * slot)
        frames += receiver.poll(START + FRAME_S * slot).frames
    frames += receiver.flush(START + 10).frames
    got = [sent.index(number) for number in numbers(frames)]
    assert got == sorted(set(got))
    assert came <= set(got)
    # One lost between two that came is repeated in time by the next, unless silence lies between.
    for index in set(range(1, len(sent) - 1)) - came:
        if index + 1 in came and fates[index + 1] == 0 and sent[index + 1] - sent[index] <= 5:
            assert index in got
