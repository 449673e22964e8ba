"""AV1 against the AOMedia payload format, SVT-AV1 and dav1d."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.bitstream.av1_obu import Obu
from media.bitstream.av1_sequence_header import ColorConfig, SequenceHeader, parse_color_config, parse_sequence_header
from media.bitstream.bits import read_leb128, write_leb128
from media.errors import RtpError
from media.rtp.depacketise.av1 import Av1Depacketiser, split_obus
from media.rtp.depacketise.av1_frames import picture_size
from media.rtp.packet import RtpPacket
from tests.media.rtp.encodings import decode, encode_av1
from tests.media.rtp.packetisers import AV1_PAYLOAD_TYPE, Sender, av1_payloads, split_temporal_unit, without_size

UNITS = encode_av1()
DELIMITER, SEQUENCE, KEY = split_temporal_unit(UNITS[0])
DELTA = split_temporal_unit(UNITS[1])[1]
PADDING = b"\x7a\x02\x00\x80"
TILE_LIST = b"\x42\x01\x00"
METADATA = b"\x2a\x03\x04abc"[:5]
DESCRIPTOR_ID = 12


def packets_of(payloads: list[bytes]) -> list[RtpPacket]:
    return Sender(payload_type=AV1_PAYLOAD_TYPE).frame(payloads, 3000)


def described(payload: bytes, frame_number: int, *, start: bool = True, end: bool = True) -> RtpPacket:
    """A packet with a dependency descriptor as libwebrtc sends it most of the time: the mandatory fields."""
    value = bytes((0x80 * start | 0x40 * end | 3,)) + (frame_number & 0xFFFF).to_bytes(2, "big")
    return RtpPacket.build(
        payload_type=AV1_PAYLOAD_TYPE,
        sequence_number=1,
        timestamp=1,
        ssrc=1,
        payload=payload,
        extensions=((DESCRIPTOR_ID, value),),
    )


@pytest.mark.parametrize("max_bytes", [40, 1100])
@pytest.mark.parametrize("sized", [True, False])
def test_real_temporal_units_come_out_whole_and_without_delimiters(max_bytes: int, sized: bool) -> None:
    av1 = Av1Depacketiser()
    assembled = []
    for unit in UNITS:
        obus = split_temporal_unit(unit)
        sent = obus if sized else [without_size(obu) for obu in obus]
        assembled.append(av1.assemble(packets_of(av1_payloads(sent, max_bytes))))
    assert all(assembled)
    data = [frame.data for frame in assembled if frame]
    assert data == [b"".join(split_temporal_unit(unit)[1:]) for unit in UNITS]
    assert [frame.sync_sample for frame in assembled if frame] == [index % 6 == 0 for index in range(len(UNITS))]
    assert [(frame.width, frame.height) for frame in assembled if frame and frame.sync_sample] == [(320, 240)] * 2
    assert {frame.width for frame in assembled if frame and not frame.sync_sample} == {0}
    assert decode("libdav1d", data) == decode("libdav1d", list(UNITS))


def test_what_is_not_stored_is_left_out() -> None:
    obus = [DELIMITER, SEQUENCE, METADATA, PADDING, TILE_LIST, KEY, PADDING]
    assembled = Av1Depacketiser().assemble(packets_of(av1_payloads(obus)))
    assert assembled is not None
    assert assembled.data == SEQUENCE + METADATA + KEY
    assert assembled.sync_sample


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_last_of_a_counted_number_of_elements_has_no_length(count: int) -> None:
    obus = [SEQUENCE, METADATA, KEY][3 - count :]
    body = b"".join(write_leb128(len(obu)) + obu for obu in obus[:-1]) + obus[-1]
    (packet,) = packets_of([bytes((count << 4,)) + body])
    assert split_obus([packet]) == obus


def test_a_key_frame_gets_the_sequence_header_that_came_before() -> None:
    av1 = Av1Depacketiser()
    alone = av1.assemble(packets_of(av1_payloads([KEY])))
    assert alone is not None
    assert (alone.data, alone.sync_sample) == (KEY, False)
    assert av1.assemble(packets_of(av1_payloads([DELIMITER, without_size(SEQUENCE)]))) is None
    after = av1.assemble(packets_of(av1_payloads([KEY])))
    assert after is not None
    assert (after.data, after.sync_sample, after.width, after.height) == (SEQUENCE + KEY, True, 320, 240)
    delta = av1.assemble(packets_of(av1_payloads([DELTA])))
    assert delta is not None
    assert (delta.data, delta.sync_sample) == (DELTA, False)


def test_a_sequence_header_does_not_make_a_sync_sample() -> None:
    delta = Av1Depacketiser().assemble(packets_of(av1_payloads([SEQUENCE, DELTA])))
    assert delta is not None
    assert (delta.data, delta.sync_sample) == (SEQUENCE + DELTA, False)


def test_a_start_shows_by_the_new_sequence_bit_or_by_what_only_a_start_has() -> None:
    av1 = Av1Depacketiser()

    def starts(payload: bytes) -> bool:
        (packet,) = packets_of([payload])
        assert av1.starts_frame(packet) is av1.starts_sync_sample(packet)
        return av1.starts_frame(packet)

    assert starts(av1_payloads([KEY[:20]], new_sequence=True)[0])
    assert starts(av1_payloads([SEQUENCE])[0])
    assert starts(b"\x10" + SEQUENCE)
    assert starts(b"\x10" + DELIMITER)
    assert starts(b"\x20" + write_leb128(len(SEQUENCE)) + SEQUENCE + DELTA)
    assert not starts(av1_payloads([DELTA[:20]])[0])
    assert not starts(b"\x98" + SEQUENCE)
    assert not starts(b"\x00\xff")
    assert not starts(b"\x10")
    assert not av1.starts_frame(Sender().padding(0))


def test_the_dependency_descriptor_tells_ends_and_order() -> None:
    av1 = Av1Depacketiser(DESCRIPTOR_ID)
    payload = b"\x10" + DELTA[:20]
    assert av1.ends_frame(described(payload, 7))
    assert not av1.ends_frame(described(payload, 7, end=False))
    assert av1.follows(described(payload, 7), described(payload, 8))
    assert av1.follows(described(payload, 0xFFFF, start=False), described(payload, 0, end=False))
    assert not av1.follows(described(payload, 7), described(payload, 9))
    assert not av1.follows(described(payload, 7, end=False), described(payload, 8))
    assert not av1.follows(described(payload, 7), described(payload, 8, start=False))
    (plain,) = packets_of([payload])
    assert not av1.follows(described(payload, 7), plain)
    assert not av1.ends_frame(plain)
    not_negotiated = Av1Depacketiser()
    assert not not_negotiated.ends_frame(described(payload, 7))
    assert not not_negotiated.follows(described(payload, 7), described(payload, 8))
    cut = RtpPacket.build(
        payload_type=35, sequence_number=1, timestamp=1, ssrc=1, payload=payload, extensions=((DESCRIPTOR_ID, b"\xc0"),)
    )
    assert not av1.ends_frame(cut)


class Bits:
    """Writes fields of so many bits."""

    def __init__(self) -> None:
        self.text = ""

    def put(self, *fields: tuple[int, int]) -> "Bits":
        self.text += "".join(f"{value:0{count}b}" for value, count in fields if count)
        return self

    def data(self) -> bytes:
        text = self.text + "0" * (-len(self.text) % 8)
        return int(text, 2).to_bytes(len(text) // 8, "big")


def sequence_payload(*, timing: bool = False, decoder_model: bool = False, frame_ids: bool = False) -> bytes:
    """A sequence header of 1280x720 with two operating points and all that is optional."""
    bits = Bits().put((0, 3), (0, 1), (0, 1), (timing, 1))
    if timing:
        bits.put((1, 32), (25, 32), (1, 1), (1, 1), (decoder_model, 1))
        if decoder_model:
            bits.put((9, 5), (1, 32), (9, 5), (9, 5))
    bits.put((1, 1), (1, 5))
    for level in (5, 9):
        bits.put((0x103, 12), (level, 5))
        if level > 7:
            bits.put((1, 1))
        if decoder_model:
            bits.put((1, 1), (1, 10), (1, 10), (0, 1))
        bits.put((1, 1), (3, 4))
    bits.put((10, 4), (9, 4), (1279, 11), (719, 10), (frame_ids, 1))
    if frame_ids:
        bits.put((4, 4), (1, 3))
    return bits.put((0, 3), (0, 4), (1, 1), (0, 2), (1, 1), (1, 1), (6, 3), (0, 30)).data()


@pytest.mark.parametrize("timing", [False, True])
@pytest.mark.parametrize("decoder_model", [False, True])
@pytest.mark.parametrize("frame_ids", [False, True])
def test_a_sequence_header_is_read_past_everything_optional(timing: bool, decoder_model: bool, frame_ids: bool) -> None:
    decoder_model = decoder_model and timing
    payload = sequence_payload(timing=timing, decoder_model=decoder_model, frame_ids=frame_ids)
    assert parse_sequence_header(payload) == SequenceHeader(
        profile=0,
        level_idx=5,
        tier=0,
        reduced_still_picture=False,
        decoder_model_info=decoder_model,
        width_bits=11,
        height_bits=10,
        max_width=1280,
        max_height=720,
        frame_id_bits=8 if frame_ids else 0,
        delta_frame_id_bits=6 if frame_ids else 0,
        force_screen_content_tools=2,
        force_integer_mv=2,
        order_hint_bits=7,
    )
    assert parse_color_config(payload) == ColorConfig(8, False, 1, 1, 0, 2, 2, 2, full_range=False)


def test_a_still_picture_is_a_key_frame_of_the_sequences_size() -> None:
    payload = Bits().put((0, 3), (1, 1), (1, 1), (0, 5), (7, 4), (7, 4), (199, 8), (99, 8), (0, 3), (0, 8)).data()
    sequence = parse_sequence_header(payload)
    assert sequence.reduced_still_picture
    assert picture_size([Obu(6, b"\x30", b"\xff")], sequence) == (200, 100)


def key_header(size: tuple[int, int] | None) -> Obu:
    """A shown key frame's header by `sequence_payload(frame_ids=True)`."""
    bits = Bits().put((0, 1), (0, 2), (1, 1), (0, 1), (1, 1), (0, 1), (77, 8), (size is not None, 1), (3, 7))
    if size:
        bits.put((size[0] - 1, 11), (size[1] - 1, 10))
    return Obu(6, b"\x30", bits.data() + b"tiles")


def inter_header(
    references: tuple[bool, ...], size: tuple[int, int] | None = None, *, refreshed: int = 2, short: bool = False
) -> Obu:
    """A shown inter frame that takes its size from slots 0 to 6 in turn, or gives it."""
    bits = Bits().put((0, 1), (1, 2), (1, 1), (0, 1), (0, 1), (0, 1), (77, 8), (1, 1), (4, 7), (0, 3), (refreshed, 8))
    bits.put((short, 1))
    for slot in range(7):
        bits.put((slot, 3), (9, 6))
    bits.put(*((found, 1) for found in references))
    if size:
        bits.put((size[0] - 1, 11), (size[1] - 1, 10))
    return Obu(6, b"\x30", bits.data() + b"tiles")


NONE_FOUND = (False,) * 7


@pytest.mark.parametrize(
    ("frames", "size"),
    [
        ([key_header(None)], (1280, 720)),
        ([key_header((320, 180))], (320, 180)),
        ([key_header((320, 180)), inter_header(NONE_FOUND, (640, 360))], (640, 360)),
        ([key_header((320, 180)), inter_header((True,))], (320, 180)),
        ([key_header((320, 180)), inter_header(NONE_FOUND, (640, 360)), inter_header((False, True))], (640, 360)),
        ([key_header((320, 180)), inter_header((True,), short=True)], (1280, 720)),
        ([key_header((320, 180)), Obu(3, b"\x18", b"\x80")], (320, 180)),
    ],
)
def test_the_size_is_that_of_the_last_layer_frame(frames: list[Obu], size: tuple[int, int]) -> None:
    assert picture_size(frames, parse_sequence_header(sequence_payload(frame_ids=True))) == size


def test_with_a_decoder_model_the_size_is_the_sequences() -> None:
    sequence = parse_sequence_header(sequence_payload(timing=True, decoder_model=True))
    assert picture_size([key_header((320, 180))], sequence) == (1280, 720)


@given(st.integers(0, (1 << 56) - 1))
def test_leb128_is_read_as_it_is_written(value: int) -> None:
    data = b"x" + write_leb128(value) + b"\xff"
    assert read_leb128(data, 1, len(data)) == (value, len(data) - 1)
    with pytest.raises(RtpError):
        read_leb128(data, 1, len(data) - 2)


def malformed() -> dict[str, list[bytes]]:
    first, second, *_, last = av1_payloads([SEQUENCE, KEY], 20_000)
    return {
        "without its start": [second, last],
        "without its end": [first, second],
        "a piece missing": [first, last, last],
        "nothing after the aggregation header": [b"\x10"],
        "a length beyond the payload": [b"\x00\x09abc"],
        "a length without end": [b"\x00\xff\xff"],
        "fewer elements than counted": [b"\x20\x01\x0a"],
        "forbidden bit": [b"\x10\xb0abc"],
        "an extension that is not there": [b"\x10\x34"],
        "a size that is not its element's": [b"\x10\x32\x05abc"],
        "sequence header cut": [b"\x10\x08\x00\x00"],
        "key frame header cut": [av1_payloads([SEQUENCE, b"\x32\x01\x10"])[0]],
    }


@pytest.mark.parametrize("name", malformed())
def test_refuses_what_is_no_whole_temporal_unit(name: str) -> None:
    with pytest.raises(RtpError):
        Av1Depacketiser().assemble(packets_of(malformed()[name]))


def test_empty_elements_are_passed_over() -> None:
    assembled = Av1Depacketiser().assemble(packets_of([b"\x00\x00" + write_leb128(len(DELTA)) + DELTA]))
    assert assembled is not None
    assert assembled.data == DELTA


@settings(max_examples=200)
@given(
    st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=4),
    st.sampled_from([lambda: b"", lambda: SEQUENCE]),
)
def test_any_payloads_are_read_or_refused(payloads: list[bytes], before: Callable[[], bytes]) -> None:
    av1 = Av1Depacketiser(DESCRIPTOR_ID)
    if before():
        av1.assemble(packets_of(av1_payloads([before()])))
    packets = packets_of(payloads)
    for packet in packets:
        av1.starts_frame(packet)
        av1.ends_frame(packet)
    try:
        assembled = av1.assemble(packets)
    except RtpError:
        return
    assert assembled is None or assembled.data
