"""VP8 against RFC 7741, aiortc's descriptor and libvpx."""

import itertools

import pytest
from aiortc.codecs.vpx import VpxPayloadDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from media.errors import RtpError
from media.rtp.depacketise.vp8 import Vp8Depacketiser, descriptor_bytes, picture_id
from media.rtp.packet import RtpPacket
from tests.media.rtp.encodings import decode, encode_vp8
from tests.media.rtp.packetisers import Sender, vp8_frame, vp8_payloads

vp8 = Vp8Depacketiser()


def packets_of(payloads: list[bytes]) -> list[RtpPacket]:
    return Sender().frame(payloads, 3000)


@pytest.mark.parametrize("max_bytes", [40, 1100])
def test_real_frames_come_out_as_they_were(max_bytes: int) -> None:
    frames = encode_vp8()
    assembled = [vp8.assemble(packets_of(vp8_payloads(frame, 5, max_bytes))) for frame in frames]
    assert tuple(frame.data for frame in assembled) == frames
    assert [frame.sync_sample for frame in assembled] == [index % 6 == 0 for index in range(len(frames))]
    assert [(frame.width, frame.height) for frame in assembled if frame.sync_sample] == [(320, 240)] * 2
    assert {frame.width for frame in assembled if not frame.sync_sample} == {0}
    assert decode("vp8", [frame.data for frame in assembled]) == decode("vp8", list(frames))


@pytest.mark.parametrize(
    ("picture", "tl0picidx", "tid", "keyidx"),
    list(itertools.product([None, 0, 127, 128, 0x7FFF], [None, 200], [None, (2, 1)], [None, 31])),
)
def test_the_descriptor_ends_where_aiortc_says(
    picture: int | None, tl0picidx: int | None, tid: tuple[int, int] | None, keyidx: int | None
) -> None:
    descriptor = bytes(VpxPayloadDescriptor(1, 0, picture, tl0picidx, tid, keyidx))
    assert descriptor_bytes(b"xx" + descriptor + b"frame", 2) == len(descriptor)
    (packet,) = packets_of([descriptor + b"frame"])
    assert vp8.starts_frame(packet)
    assert picture_id(packet) == (None if picture is None else (picture, 15))


def test_a_picture_id_of_seven_bits_is_one_octet() -> None:
    (packet,) = packets_of([b"\x90\xf0\x7f\x00\x00frame"])
    assert descriptor_bytes(packet.data, packet.payload_start) == 5
    assert picture_id(packet) == (127, 7)


@settings(max_examples=30)
@given(st.integers(1, 4000), st.integers(20, 1200), st.booleans(), st.one_of(st.none(), st.integers(0, 0x7FFF)))
def test_any_split_of_a_frame_is_joined(size: int, max_bytes: int, keyframe: bool, number: int | None) -> None:
    frame = vp8_frame(keyframe=keyframe, size=size, seed=size)
    assembled = vp8.assemble(packets_of(vp8_payloads(frame, number, max_bytes)))
    assert (assembled.data, assembled.sync_sample) == (frame, keyframe)


@pytest.mark.parametrize("keyframe", [True, False])
@pytest.mark.parametrize("number", [None, 5])
def test_the_first_packet_of_a_key_frame_shows(keyframe: bool, number: int | None) -> None:
    first, *rest = packets_of(vp8_payloads(vp8_frame(keyframe=keyframe, size=300), number, 100))
    assert vp8.starts_sync_sample(first) is keyframe
    assert not any(vp8.starts_sync_sample(packet) for packet in rest)
    assert not vp8.starts_sync_sample(packets_of([b"\x10"])[0])
    assert not vp8.starts_sync_sample(packets_of([b"\x90\x80"])[0])


def test_only_the_first_packet_starts_a_frame() -> None:
    first, second, third = packets_of(vp8_payloads(vp8_frame(keyframe=True, size=300), 1, 100))
    assert [vp8.starts_frame(packet) for packet in (first, second, third)] == [True, False, False]
    (second_partition,) = packets_of([b"\x11partition"])
    assert not vp8.starts_frame(second_partition)
    assert not vp8.starts_frame(Sender().padding(0))


def test_a_plain_descriptor_is_one_octet_whatever_its_partition() -> None:
    frame = vp8_frame(keyframe=False, size=90)
    packets = packets_of([b"\x10" + frame[:40], b"\x00" + frame[40:60], b"\x11" + frame[60:]])
    assert vp8.assemble(packets).data == frame
    (no_extension,) = packets_of([b"\x10\xff\xff\xff\xff"])
    assert picture_id(no_extension) is None


def test_the_next_picture_id_proves_that_nothing_lies_between() -> None:
    def packet(number: int | None, start: bool = True) -> RtpPacket:
        payload = vp8_payloads(vp8_frame(keyframe=False), number)[0]
        return packets_of([payload if start else bytes((payload[0] & 0xEF,)) + payload[1:]])[0]

    assert vp8.follows(packet(7), packet(8))
    assert not vp8.follows(packet(7), packet(9))
    assert not vp8.follows(packet(7), packet(7))
    assert not vp8.follows(packet(7), packet(8, start=False))
    assert vp8.follows(packet(0x7FFF), packet(0))
    assert not vp8.follows(packet(None), packet(8))
    assert not vp8.follows(packet(8), packet(None))
    # livekit-server writes ids below 128 in seven bits, others in fifteen.
    seven_to_fifteen = packets_of([b"\x90\x80\x7f" + vp8_frame(keyframe=False)])[0]
    assert vp8.follows(seven_to_fifteen, packet(128))
    (seven_bits,) = packets_of([b"\x90\x80\x7f" + vp8_frame(keyframe=False)])
    (next_seven_bits,) = packets_of([b"\x90\x80\x00" + vp8_frame(keyframe=False)])
    assert vp8.follows(seven_bits, next_seven_bits)


def test_the_blank_key_frame_of_the_server_is_read() -> None:
    blank = bytes.fromhex("100200 9d012a 0800 0800 00470885858885848802020 00c0d6000feffab5080".replace(" ", ""))
    assembled = vp8.assemble(packets_of([b"\x90\x80\x05" + blank]))
    assert (assembled.sync_sample, assembled.width, assembled.height) == (True, 8, 8)


def malformed() -> dict[str, list[bytes]]:
    frame = vp8_frame(keyframe=True, size=300)
    first, second, third = vp8_payloads(frame, 1, 100)
    return {
        "without its start": [second, third],
        "cut by another start": [first, second, first],
        "ends inside the descriptor": [b"\x90"],
        "ends inside the picture id": [b"\x90\x80"],
        "no frame header": [b"\x10\x01"],
        "nothing after the descriptor": [b"\x10"],
        "shorter than its first partition": [first, second],
        "delta shorter than its first partition": [b"\x10" + vp8_frame(keyframe=False, size=50)[:40]],
        "key frame without start code": [b"\x10" + frame[:3] + b"\x00\x00\x00" + frame[6:]],
        "key frame without size": [b"\x10" + frame[:8]],
    }


@pytest.mark.parametrize("name", malformed())
def test_refuses_what_is_no_whole_frame(name: str) -> None:
    with pytest.raises(RtpError):
        vp8.assemble(packets_of(malformed()[name]))


@settings(max_examples=100)
@given(st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=4))
def test_any_payloads_are_read_or_refused(payloads: list[bytes]) -> None:
    packets = packets_of(payloads)
    for packet in packets:
        vp8.starts_frame(packet)
        vp8.starts_sync_sample(packet)
        picture_id(packet)
    try:
        assembled = vp8.assemble(packets)
    except RtpError:
        return
    assert isinstance(assembled.data, bytes)
