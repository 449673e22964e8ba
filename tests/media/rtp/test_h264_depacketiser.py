"""H.264 against RFC 6184, aiortc's packetiser, x264 and FFmpeg's decoder."""

import pytest
from aiortc.codecs.h264 import H264Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from media.bitstream.bits import unescape
from media.bitstream.h264 import parse_pps_ids, parse_slice_pps_id, parse_sps
from media.errors import RtpError
from media.rtp.depacketise.h264 import H264Depacketiser
from media.rtp.packet import RtpPacket
from tests.media.rtp.encodings import decode, encode, encode_h264
from tests.media.rtp.packetisers import H264_PAYLOAD_TYPE, Sender, annex_b, h264_payloads, split_annex_b

# SPS of x264, baseline, 318x238 and a PPS; then tiny slices of pictures without meaning.
ACCESS_UNIT = split_annex_b(encode_h264()[0])
SPS = next(nal for nal in ACCESS_UNIT if nal[0] & 0x1F == 7)
PPS = next(nal for nal in ACCESS_UNIT if nal[0] & 0x1F == 8)
SEI = b"\x06\x05\x01\x00\x80"
DELIMITER = b"\x09\x10"
IDR = b"\x65\xb8\x00\x04"
SLICE = b"\x41\xe0\x00\x04"
LATER_SLICE = b"\x41\x05\x00\x04"


def packets_of(payloads: list[bytes]) -> list[RtpPacket]:
    return Sender(payload_type=H264_PAYLOAD_TYPE).frame(payloads, 3000)


def avc(*nals: bytes) -> bytes:
    return b"".join(len(nal).to_bytes(4, "big") + nal for nal in nals)


@pytest.mark.parametrize("slices", [1, 4])
@pytest.mark.parametrize("max_bytes", [60, 1100])
@pytest.mark.parametrize("aggregate", [True, False])
def test_real_access_units_come_out_as_they_were(slices: int, max_bytes: int, aggregate: bool) -> None:
    units = encode_h264(slices=slices)
    h264 = H264Depacketiser()
    decoded = []
    for index, unit in enumerate(units):
        nals = split_annex_b(unit)
        assembled = h264.assemble(packets_of(h264_payloads(nals, max_bytes, aggregate=aggregate)))
        assert assembled is not None
        assert assembled.data == avc(*nals)
        assert assembled.sync_sample is (index % 6 == 0)
        assert (assembled.width, assembled.height) == ((318, 238) if assembled.sync_sample else (0, 0))
        decoded.append(annex_b(assembled.data))
    assert decode("h264", decoded) == decode("h264", list(units))


def test_what_aiortc_packetises_is_joined() -> None:
    h264 = H264Depacketiser()
    for unit in encode_h264():
        nals = split_annex_b(unit)
        payloads = H264Encoder._packetize(iter(nals))
        assembled = h264.assemble(packets_of(payloads))
        assert assembled is not None
        assert assembled.data == avc(*nals)


def test_an_idr_without_parameter_sets_gets_the_last_ones() -> None:
    h264 = H264Depacketiser()
    assert h264.assemble(packets_of([SPS, PPS])) is None
    assembled = h264.assemble(packets_of([IDR]))
    assert assembled is not None
    assert assembled.data == avc(SPS, PPS, IDR)
    assert (assembled.sync_sample, assembled.width, assembled.height) == (True, 318, 238)


def test_only_what_is_missing_is_added_behind_the_delimiter() -> None:
    h264 = H264Depacketiser([SPS, PPS])
    assembled = h264.assemble(packets_of([DELIMITER, SPS, SEI, IDR]))
    assert assembled is not None
    assert assembled.data == avc(DELIMITER, PPS, SPS, SEI, IDR) or assembled.data == avc(DELIMITER, SPS, SEI, PPS, IDR)
    complete = h264.assemble(packets_of([SPS, PPS, IDR, IDR]))
    assert complete is not None
    assert complete.data == avc(SPS, PPS, IDR, IDR)


def test_an_idr_whose_parameter_sets_never_came_is_no_sync_sample() -> None:
    assembled = H264Depacketiser().assemble(packets_of([IDR]))
    assert assembled is not None
    assert assembled.data == avc(IDR)
    assert not assembled.sync_sample


def test_a_new_sps_replaces_the_old_one() -> None:
    other = next(nal for nal in split_annex_b(encode_h264(160, 120)[0]) if nal[0] & 0x1F == 7)
    h264 = H264Depacketiser([SPS, PPS])
    assert h264.assemble(packets_of([other])) is None
    assembled = h264.assemble(packets_of([IDR]))
    assert assembled is not None
    assert (assembled.width, assembled.height) == (160, 120)


@pytest.mark.parametrize(
    ("payload", "starts"),
    [
        (SPS, True),
        (DELIMITER, True),
        (SLICE, True),
        (LATER_SLICE, False),
        (IDR, False),
        (PPS, False),
        (SEI, False),
        (b"\x78\x00\x08" + SPS[:8] + b"\x00\x04" + PPS[:4], True),
        (b"\x78\x00\x04" + SLICE, True),
        (b"\x78\x00\x04" + LATER_SLICE, False),
        (b"\x5c\x81" + SLICE[1:], True),
        (b"\x5c\x01" + SLICE[1:], False),
        (b"\x5c\x81" + LATER_SLICE[1:], False),
        (b"\x7c\x85" + IDR[1:], False),
        (b"\x5c", False),
        (b"\x78\x00\x04", False),
        (b"\x41", False),
    ],
)
def test_what_proves_the_start_of_a_frame(payload: bytes, starts: bool) -> None:
    (packet,) = packets_of([payload])
    assert H264Depacketiser().starts_frame(packet) is starts


@pytest.mark.parametrize(
    ("payload", "starts"),
    [
        (SPS, True),
        (IDR, True),
        (b"\x65\x05\x00\x04", False),
        (b"\x7c\x85" + IDR[1:], True),
        (b"\x7c\x05" + IDR[1:], False),
        (b"\x78\x00\x08" + SPS[:8], True),
        (SLICE, False),
        (DELIMITER, False),
        (b"\x65", False),
    ],
)
def test_what_shows_the_start_of_a_sync_sample(payload: bytes, starts: bool) -> None:
    (packet,) = packets_of([payload])
    assert H264Depacketiser().starts_sync_sample(packet) is starts


def test_padding_starts_nothing() -> None:
    assert not H264Depacketiser().starts_frame(Sender().padding(0))
    assert not H264Depacketiser().starts_sync_sample(Sender().padding(0))


MALFORMED = {
    "fragment without start": [b"\x5c\x01abc", b"\x5c\x41abc"],
    "fragment without end": [b"\x5c\x81abc", b"\x5c\x01abc"],
    "fragment started twice": [b"\x5c\x81abc", b"\x5c\x81abc", b"\x5c\x41abc"],
    "unit inside a fragmented one": [b"\x5c\x81abc", SLICE, b"\x5c\x41abc"],
    "empty fragment": [b"\x5c\x81"],
    "aggregate beyond the payload": [b"\x78\x00\x09" + SLICE],
    "aggregate with half a size": [b"\x78\x00\x04" + SLICE + b"\x00"],
    "aggregate of an empty unit": [b"\x78\x00\x00"],
    "interleaved mode": [b"\x79\x00\x01\x02"],
    "type 0": [b"\x00abc"],
    "no payload": [b""],
    "SPS cut short": [SPS[:6], PPS, IDR],
    "slice cut short": [SPS, PPS, b"\x65"],
}


@pytest.mark.parametrize("name", MALFORMED)
def test_refuses_what_is_no_whole_access_unit(name: str) -> None:
    with pytest.raises(RtpError):
        H264Depacketiser().assemble(packets_of(MALFORMED[name]))


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(st.sampled_from([0x65, 0x67, 0x68, 0x41, 0x78, 0x5C, 0x7C]), st.binary(max_size=30)),
        min_size=1,
        max_size=4,
    )
)
def test_any_payloads_are_read_or_refused(payloads: list[tuple[int, bytes]]) -> None:
    packets = packets_of([bytes((first,)) + rest for first, rest in payloads])
    h264 = H264Depacketiser()
    for packet in packets:
        h264.starts_frame(packet)
        h264.starts_sync_sample(packet)
    try:
        assembled = h264.assemble(packets)
    except RtpError:
        return
    assert assembled is None or isinstance(assembled.data, bytes)


BLANK_SPS = bytes.fromhex("6742c01f0fd91f888884000003000400000300c83c60c920")
BLANK_PPS = bytes.fromhex("6887cb83cb20")


def test_the_blank_frame_of_the_server_is_two_pixels_wide() -> None:
    parsed = parse_sps(BLANK_SPS)
    assert (parsed.width, parsed.height) == (2, 2)


def test_a_sender_that_told_its_parameter_sets_once_goes_on_after_the_servers_blank_frame() -> None:
    h264 = H264Depacketiser()
    before = h264.assemble(packets_of([SPS, PPS, IDR]))
    blank = h264.assemble(packets_of([BLANK_SPS, BLANK_PPS, IDR]))
    assert blank is not None
    assert blank.is_blank
    after = h264.assemble(packets_of([IDR]))
    assert after == before


def test_parameter_sets_whose_ids_somebody_made_up_are_refused() -> None:
    def exp_golomb(number: int) -> str:
        digits = f"{number + 1:b}"
        return "0" * (len(digits) - 1) + digits

    def set_of(header: bytes, bits: str) -> bytes:
        bits += "0" * (-len(bits) % 8)
        return header + int(bits, 2).to_bytes(len(bits) // 8)

    size = exp_golomb(0) * 3 + exp_golomb(1) + "0" + exp_golomb(39) + exp_golomb(29) + "110" + "01"
    for number in (31, 32, 10**6):
        sps = set_of(b"\x67", "01000010" + "0" * 16 + exp_golomb(number) + size)
        pps = set_of(b"\x68", exp_golomb(number) + exp_golomb(number))
        if number <= 31:
            assert parse_sps(sps).identifier == number
            assert parse_pps_ids(pps) == (number, number)
            continue
        for refused in (sps, pps):
            with pytest.raises(RtpError, match="id that the standard does not know"):
                H264Depacketiser([refused])


@pytest.mark.parametrize(
    ("pixel_format", "options"),
    [
        ("yuv420p", (("x264-params", "cqm=jvt"), ("profile", "high"))),
        ("yuv420p", (("x264-params", "tff=1"),)),
        ("yuv422p", ()),
        ("yuv444p", ()),
        ("gray", ()),
    ],
)
def test_sizes_of_high_profiles(pixel_format: str, options: tuple[tuple[str, str], ...]) -> None:
    unit = encode("libx264", 318, 232, (("tune", "zerolatency"), *options), pixel_format)[0]
    (sps,) = (nal for nal in split_annex_b(unit) if nal[0] & 0x1F == 7)
    parsed = parse_sps(sps)
    assert (parsed.width, parsed.height) == (318, 232)


@pytest.mark.parametrize(("width", "height"), [(16, 16), (318, 238), (320, 180), (1920, 1080), (854, 480)])
def test_sizes_of_x264_parameter_sets(width: int, height: int) -> None:
    for nal in split_annex_b(encode_h264(width, height)[0]):
        if nal[0] & 0x1F == 7:
            parsed = parse_sps(nal)
            assert (parsed.width, parsed.height) == (width, height)
            return
    raise AssertionError("x264 sent no SPS")


def test_ids_link_slice_to_parameter_sets() -> None:
    idr = next(nal for nal in ACCESS_UNIT if nal[0] & 0x1F == 5)
    assert parse_slice_pps_id(idr) == parse_pps_ids(PPS)[0]
    assert parse_pps_ids(PPS)[1] == parse_sps(SPS).identifier


@settings(max_examples=50)
@given(st.lists(st.sampled_from([0, 0, 0, 1, 3, 255]), max_size=30))
def test_emulation_prevention_is_undone(values: list[int]) -> None:
    escaped = bytearray()
    zeros = 0
    for value in values:
        if zeros == 2 and value <= 3:
            escaped.append(3)
            zeros = 0
        escaped.append(value)
        zeros = zeros + 1 if value == 0 else 0
    assert unescape(bytes(escaped)) == bytes(values)
