"""VP9 against RFC 9628, libvpx and FFmpeg's superframe filters."""

import itertools

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.bitstream.vp9 import build_superframe, picture_size, split_superframe, starts_key_frame
from media.errors import RtpError
from media.rtp.depacketise.vp9 import Vp9Depacketiser, descriptor_bytes, picture_id, spatial_id
from media.rtp.packet import RtpPacket
from tests.media.rtp.encodings import decode, encode_vp9
from tests.media.rtp.packetisers import VP9_PAYLOAD_TYPE, Sender, vp9_payloads

vp9 = Vp9Depacketiser()
FRAMES = encode_vp9()
KEY, DELTA = FRAMES[0], FRAMES[1]


def packets_of(payloads: list[bytes]) -> list[RtpPacket]:
    return Sender(payload_type=VP9_PAYLOAD_TYPE).frame(payloads, 3000)


def inter_header(*, references: tuple[bool, ...], size: tuple[int, int] | None = None, refreshed: int = 2) -> bytes:
    """The header of a shown, error resilient inter frame that refers to slots 0, 1 and 2."""
    bits = f"10{'00'}0{'1'}{'1'}{'1'}{refreshed:08b}" + "".join(f"{slot:03b}0" for slot in range(3))
    bits += "".join("01"[found] for found in references)
    if size is not None:
        bits += f"{size[0] - 1:016b}{size[1] - 1:016b}"
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big") + b"body"


MIDDLE = inter_header(references=(False, False, False), size=(640, 480))
TOP = inter_header(references=(False, True), refreshed=4)


@pytest.mark.parametrize("max_bytes", [40, 1100])
@pytest.mark.parametrize("flexible", [True, False])
def test_real_frames_come_out_as_they_were(max_bytes: int, flexible: bool) -> None:
    assembled = [
        vp9.assemble(packets_of(vp9_payloads([frame], 5, max_bytes, keyframe=index % 6 == 0, flexible=flexible)))
        for index, frame in enumerate(FRAMES)
    ]
    assert tuple(frame.data for frame in assembled) == FRAMES
    assert [frame.sync_sample for frame in assembled] == [index % 6 == 0 for index in range(len(FRAMES))]
    assert [(frame.width, frame.height) for frame in assembled if frame.sync_sample] == [(320, 240)] * 2
    assert {frame.width for frame in assembled if not frame.sync_sample} == {0}
    assert decode("libvpx-vp9", [frame.data for frame in assembled]) == decode("libvpx-vp9", list(FRAMES))


@pytest.mark.parametrize("flexible", [True, False])
@pytest.mark.parametrize("max_bytes", [50, 1100])
def test_the_layers_of_a_picture_become_a_superframe(max_bytes: int, flexible: bool) -> None:
    layers = [KEY, MIDDLE, TOP]
    packets = packets_of(vp9_payloads(layers, 9, max_bytes, keyframe=True, flexible=flexible))
    assembled = vp9.assemble(packets)
    assert split_superframe(assembled.data) == layers
    assert assembled.sync_sample
    # The top layer takes the size of the middle one, which gives its own.
    assert (assembled.width, assembled.height) == (640, 480)
    assert [vp9.starts_frame(packet) for packet in packets] == [True, *[False] * (len(packets) - 1)]
    assert [spatial_id(packet) for packet in packets] == sorted(spatial_id(packet) for packet in packets)
    assert sum(vp9.ends_frame(packet) for packet in packets) == 3
    assert vp9.ends_frame(packets[-1])


def test_layers_below_may_be_left_out_of_a_picture() -> None:
    packets = packets_of(vp9_payloads([DELTA], 9, first_layer=2))
    assembled = vp9.assemble(packets)
    assert (assembled.data, assembled.sync_sample) == (DELTA, False)
    assert not vp9.starts_frame(packets[0])
    two = vp9.assemble(packets_of(vp9_payloads([DELTA, TOP], 9, first_layer=1)))
    assert split_superframe(two.data) == [DELTA, TOP]
    assert not two.sync_sample


def test_a_superframe_in_one_layer_is_taken_apart_for_the_picture() -> None:
    """Encoders that look ahead pack a hidden frame with the next; the index counts single frames."""
    inner = build_superframe([KEY, DELTA])
    alone = vp9.assemble(packets_of(vp9_payloads([inner], keyframe=True)))
    assert (alone.data, alone.sync_sample, alone.width) == (inner, True, 320)
    both = vp9.assemble(packets_of(vp9_payloads([inner, TOP], keyframe=True)))
    assert split_superframe(both.data) == [KEY, DELTA, TOP]


@pytest.mark.parametrize("sizes", [(200, 3), (70_000, 1, 300), (5,) * 8])
def test_ffmpeg_splits_the_superframes_into_the_same_frames(sizes: tuple[int, ...]) -> None:
    frames = [DELTA[:1] + bytes([7]) * (size - 1) for size in sizes]
    stream_filter = av.BitStreamFilterContext("vp9_superframe_split", _vp9_stream())
    split = stream_filter.filter(av.Packet(build_superframe(frames))) + stream_filter.filter(None)
    assert [bytes(packet) for packet in split] == frames
    assert split_superframe(build_superframe(frames)) == frames


def _vp9_stream() -> av.VideoStream:
    stream = av.open("/dev/null", "w", format="null").add_stream("libvpx-vp9", 25)
    assert isinstance(stream, av.VideoStream)
    return stream


def test_more_than_eight_frames_make_no_superframe() -> None:
    with pytest.raises(RtpError, match="up to 8"):
        build_superframe([KEY] * 9)


def test_an_index_that_exceeds_the_data_is_refused_and_one_half_there_is_none() -> None:
    with pytest.raises(RtpError):
        split_superframe(b"\x86abc" + bytes((0xC1, 3, 9, 0xC1)))
    with pytest.raises(RtpError):
        split_superframe(b"\x86abc" + bytes((0xC1, 4, 0, 0xC1)))
    for data in (b"", b"\xc1", b"\x86\xc1", b"\x86abcdef\xc9"):
        assert split_superframe(data) == [data]


@pytest.mark.parametrize(
    ("number", "layers", "flexible", "references", "structure"),
    list(
        itertools.product([None, 7, 0x7FFF], [False, True], [False, True], [0, 1, 3], [None, "plain", "sizes", "group"])
    ),
)
def test_the_descriptor_ends_where_the_fields_say(
    number: int | None, layers: bool, flexible: bool, references: int, structure: str | None
) -> None:
    flags, fields = 0x0C, b""
    if number is not None:
        flags |= 0x80
        fields += bytes((number,)) if number < 128 else (0x8000 | number).to_bytes(2, "big")
    if layers:
        flags |= 0x20
        fields += b"\x42" if flexible else b"\x42\x09"
    if references:
        flags |= 0x40
    if flexible:
        flags |= 0x10
        fields += b"\x03" * max(0, references - 1) + (b"\x02" if references else b"")
    if structure is not None:
        flags |= 0x02
        fields += {"plain": b"\x40", "sizes": b"\x30" + bytes(8), "group": b"\x08\x02\x04\x01\x28\x01\x02"}[structure]
    data = b"xx" + bytes((flags,)) + fields
    assert descriptor_bytes(data + b"\x86frame", 2) == len(data) - 2
    (packet,) = packets_of([data[2:] + b"\x86frame"])
    assert picture_id(packet) == (None if number is None else (number, 7 if number < 128 else 15))
    assert spatial_id(packet) == (1 if layers else 0)


@pytest.mark.parametrize("keyframe", [True, False])
@pytest.mark.parametrize("number", [None, 5])
def test_the_first_packet_of_a_key_frame_shows(keyframe: bool, number: int | None) -> None:
    first, *rest = packets_of(vp9_payloads([KEY if keyframe else DELTA], number, 100, keyframe=keyframe))
    assert vp9.starts_sync_sample(first) is keyframe
    assert not any(vp9.starts_sync_sample(packet) for packet in rest)


def test_a_first_packet_without_a_frame_header_shows_nothing() -> None:
    # Intra-only frames refer to no picture before, and are no key frames.
    intra_only = int("10000101" + "00" + "0" * 14, 2).to_bytes(3, "big")
    for payload in (b"\x88", b"\x88\x80", b"\x8e\x80\x05", b"\x08" + intra_only, b"\x08\x00", b"\x08"):
        assert not vp9.starts_sync_sample(packets_of([payload])[0])
    assert not vp9.starts_frame(Sender().padding(0))
    assert not vp9.ends_frame(Sender().padding(0))


def test_the_next_picture_id_proves_that_nothing_lies_between() -> None:
    def packet(number: int | None, first_layer: int = 0) -> RtpPacket:
        return packets_of(vp9_payloads([DELTA], number, first_layer=first_layer))[0]

    assert vp9.follows(packet(7), packet(8))
    assert vp9.follows(packet(7, first_layer=2), packet(8))
    assert not vp9.follows(packet(7), packet(8, first_layer=1))
    assert not vp9.follows(packet(7), packet(9))
    assert not vp9.follows(packet(7), packet(7))
    assert vp9.follows(packet(0x7FFF), packet(0))
    assert not vp9.follows(packet(None), packet(8))
    assert not vp9.follows(packet(8), packet(None))
    later = packets_of(vp9_payloads([DELTA], 8, 100))[1]
    assert not vp9.follows(packet(7), later)


@pytest.mark.parametrize("profile", range(4))
def test_a_key_frame_of_any_profile_tells_its_size(profile: int) -> None:
    bits = "10" + "01"[profile & 1] + "01"[profile >> 1] + ("0" if profile == 3 else "") + "0" + "0" + "10"
    bits += f"{0x498342:024b}" + ("1" if profile >= 2 else "") + "001" + "0" + ("000" if profile & 1 else "")
    bits += f"{1919:016b}{1079:016b}"
    frame = int(bits + "0" * (-len(bits) % 8), 2).to_bytes((len(bits) + 7) // 8, "big")
    assert starts_key_frame(frame)
    assert picture_size([frame]) == (1920, 1080)


def malformed() -> dict[str, list[bytes]]:
    first, second, *_, last = vp9_payloads([KEY], 1, 20_000, keyframe=True)
    return {
        "without its start": [second, last],
        "without its end": [first, second],
        "cut by another start": [first, second, first],
        "ends inside the picture id": [b"\x8c"],
        "ends inside the structure": [b"\x0e\x18\x00\x10"],
        "nothing after the descriptor": [b"\x0c"],
        "no frame marker": [b"\x0c\x00\x00"],
        "key frame without sync code": [b"\x0c\x82" + bytes(12)],
        "key frame without size": [b"\x0c" + KEY[:5]],
    }


@pytest.mark.parametrize("name", malformed())
def test_refuses_what_is_no_whole_picture(name: str) -> None:
    with pytest.raises(RtpError):
        vp9.assemble(packets_of(malformed()[name]))


@settings(max_examples=200)
@given(st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=4))
def test_any_payloads_are_read_or_refused(payloads: list[bytes]) -> None:
    packets = packets_of(payloads)
    for packet in packets:
        vp9.starts_frame(packet)
        vp9.ends_frame(packet)
        vp9.starts_sync_sample(packet)
        vp9.follows(packets[0], packet)
    try:
        assembled = vp9.assemble(packets)
    except RtpError:
        return
    assert isinstance(assembled.data, bytes)
