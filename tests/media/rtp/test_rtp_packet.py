"""RTP packets against RFC 3550, RFC 8285 and aiortc's implementation."""

import aiortc.rtp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.errors import RtpError
from media.rtp.packet import RtpPacket, is_rtcp


def build(**fields: object) -> RtpPacket:
    defaults: dict[str, object] = {
        "payload_type": 96,
        "sequence_number": 7,
        "timestamp": 9,
        "ssrc": 11,
        "payload": b"payload",
    }
    return RtpPacket.build(**{**defaults, **fields})  # type: ignore[arg-type]  # checked by the calls


def test_reads_a_packet_with_everything() -> None:
    data = (
        bytes.fromhex("b2e0 0102 03040506 0708090a")  # padding, extension, two CSRCs, marker, type 96
        + bytes.fromhex("0000000b 0000000c")
        + bytes.fromhex("bede 0002 10aa 21bbcc 00 00 00")
        + b"media"
        + bytes.fromhex("000003")
    )
    packet = RtpPacket.parse(data)
    assert (packet.payload_type, packet.marker, packet.sequence_number) == (96, True, 0x0102)
    assert (packet.timestamp, packet.ssrc) == (0x03040506, 0x0708090A)
    assert (packet.payload, packet.padding_bytes) == (b"media", 3)
    assert packet.extension(1) == b"\xaa"
    assert packet.extension(2) == b"\xbb\xcc"
    assert packet.extension(3) is None
    assert packet.serialize() == data


def test_reads_two_byte_extensions() -> None:
    packet = build(extensions=((1, b""), (200, b"x" * 40)))
    assert packet.extension(1) == b""
    assert packet.extension(200) == b"x" * 40
    assert packet.extension(2) is None


def test_an_unknown_extension_profile_is_skipped() -> None:
    packet = RtpPacket(bytes.fromhex("9060 0001 00000000 00000000 1234 0001 10aa0000") + b"media")
    assert packet.extension(1) is None
    assert packet.payload == b"media"


def test_an_extension_that_runs_over_its_header_is_not_found() -> None:
    packet = RtpPacket(bytes.fromhex("9060 0001 00000000 00000000 bede 0001 1faabbcc") + b"media" * 9)
    assert packet.extension(1) is None


def test_padding_only_has_no_payload() -> None:
    packet = build(payload=b"", padding_bytes=255)
    assert packet.payload == b""
    assert packet.padding_bytes == 255
    assert packet.payload_start == packet.payload_end


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(11),
        bytes(12),
        bytes.fromhex("4060 0001 00000000 00000000"),
        bytes.fromhex("8160 0001 00000000 00000000"),
        bytes.fromhex("9060 0001 00000000 00000000 bede"),
        bytes.fromhex("9060 0001 00000000 00000000 bede 0002 10aa0000"),
        bytes.fromhex("a060 0001 00000000 00000000 00"),
        bytes.fromhex("a060 0001 00000000 00000000 05"),
        bytes.fromhex("a060 0001 00000000 00000000"),
    ],
    ids=[
        "empty",
        "short header",
        "version 0",
        "version 1",
        "no CSRC",
        "half an extension header",
        "half an extension",
        "padding of 0",
        "padding exceeds the packet",
        "padding reads the header",
    ],
)
def test_refuses_what_is_no_packet(data: bytes) -> None:
    with pytest.raises(RtpError):
        RtpPacket.parse(data)


@settings(max_examples=100)
@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        packet = RtpPacket(data)
    except RtpError:
        return
    assert packet.serialize() == data
    assert 12 <= packet.payload_start <= packet.payload_end <= len(data)
    for identifier in (1, 14, 200):
        packet.extension(identifier)


@settings(max_examples=50)
@given(
    payload_type=st.integers(0, 127),
    marker=st.booleans(),
    sequence_number=st.integers(0, 0xFFFF),
    timestamp=st.integers(0, 0xFFFF_FFFF),
    ssrc=st.integers(0, 0xFFFF_FFFF),
    payload=st.binary(max_size=40),
    padding=st.integers(0, 255),
)
def test_aiortc_reads_what_we_build(
    payload_type: int,
    marker: bool,
    sequence_number: int,
    timestamp: int,
    ssrc: int,
    payload: bytes,
    padding: int,
) -> None:
    packet = RtpPacket.build(
        payload_type=payload_type,
        marker=marker,
        sequence_number=sequence_number,
        timestamp=timestamp,
        ssrc=ssrc,
        payload=payload,
        padding_bytes=padding,
    )
    other = aiortc.rtp.RtpPacket.parse(packet.serialize())
    assert (other.payload_type, other.marker, other.sequence_number) == (
        payload_type,
        int(marker),
        sequence_number,
    )
    assert (other.timestamp, other.ssrc, other.payload, other.padding_size) == (
        timestamp,
        ssrc,
        payload,
        padding,
    )


def test_an_rtx_packet_carries_the_original() -> None:
    rtx = build(payload_type=97, ssrc=99, payload=b"\xff\xfe" + b"media", marker=True, padding_bytes=4)
    original = rtx.restore_rtx(payload_type=96, ssrc=11)
    assert (original.sequence_number, original.payload_type, original.ssrc) == (0xFFFE, 96, 11)
    assert (original.payload, original.marker, original.timestamp) == (b"media", True, 9)
    again = RtpPacket(original.serialize())
    assert (again.sequence_number, again.payload, again.padding_bytes) == (0xFFFE, b"media", 4)
    with pytest.raises(RtpError):
        build(payload=b"\x01").restore_rtx(96, 11)


def test_tells_rtcp_from_rtp() -> None:
    assert is_rtcp(bytes.fromhex("80c8 0006"))
    assert is_rtcp(bytes.fromhex("81ce 0002"))
    assert not is_rtcp(build(payload_type=111, marker=True).data)
    assert not is_rtcp(build(payload_type=96).data)
    assert not is_rtcp(b"\x80")
