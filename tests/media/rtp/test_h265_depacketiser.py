"""H.265 against RFC 7798, x265 and FFmpeg's decoder."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.bitstream.h265 import parse_pps_ids, parse_slice_pps_id, parse_sps, parse_vps_id
from media.errors import RtpError
from media.rtp.depacketise.h265 import H265Depacketiser
from media.rtp.packet import RtpPacket
from tests.media.rtp.encodings import decode, encode_h265
from tests.media.rtp.packetisers import H265_PAYLOAD_TYPE, Sender, annex_b, h265_payloads, split_annex_b

# VPS, SPS and PPS of x265, main profile, 318x238; then tiny slices of pictures without meaning.
ACCESS_UNIT = split_annex_b(encode_h265()[0])
VPS, SPS, PPS = (next(nal for nal in ACCESS_UNIT if nal[0] >> 1 == kind) for kind in (32, 33, 34))
SEI = b"\x4e\x01\x05\x01\x00\x80"
DELIMITER = b"\x46\x01\x50"
IDR = b"\x28\x01\xac\x10\x20"
CRA = b"\x2a\x01\xac\x10\x20"
BLA = b"\x20\x01\xac\x10\x20"
SLICE = b"\x02\x01\xd0\x10\x20"
LATER_SLICE = b"\x02\x01\x50\x10\x20"


def packets_of(payloads: list[bytes]) -> list[RtpPacket]:
    return Sender(payload_type=H265_PAYLOAD_TYPE).frame(payloads, 3000)


def with_lengths(*nals: bytes) -> bytes:
    return b"".join(len(nal).to_bytes(4, "big") + nal for nal in nals)


@pytest.mark.parametrize("max_bytes", [60, 1100])
def test_real_access_units_come_out_as_they_were(max_bytes: int) -> None:
    h265 = H265Depacketiser()
    units = encode_h265()
    assembled = [h265.assemble(packets_of(h265_payloads(split_annex_b(unit), max_bytes))) for unit in units]
    frames = [frame for frame in assembled if frame]
    assert [frame.data for frame in frames] == [with_lengths(*split_annex_b(unit)) for unit in units]
    assert [frame.sync_sample for frame in frames] == [index % 6 == 0 for index in range(len(units))]
    assert [(frame.width, frame.height) for frame in frames if frame.sync_sample] == [(318, 238)] * 2
    assert {frame.width for frame in frames if not frame.sync_sample} == {0}
    assert decode("hevc", [annex_b(frame.data) for frame in frames]) == decode("hevc", list(units))


@pytest.mark.parametrize(
    ("chroma", "size"),
    [("1", (1920, 1080)), ("2", (1920, 1084)), ("3 apart", (1922, 1084)), ("3", (1922, 1084)), ("0", (1922, 1084))],
)
def test_the_size_is_that_of_the_conformance_window(chroma: str, size: tuple[int, int]) -> None:
    planes = {"3": "0", "3 apart": "1"}.get(chroma, "")
    window = "1" + _ue(1) + _ue(1) + _ue(0) + _ue(4)
    sps = parse_sps(_sps(f"{0:04b}{0:03b}1" + "0" * 96 + _ue(0) + _ue(int(chroma[0])) + planes, 1924, 1088, window))
    assert (sps.width, sps.height) == size


def test_a_window_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(RtpError, match="crops"):
        parse_sps(
            _sps(f"{0:04b}{0:03b}1" + "0" * 96 + _ue(0) + _ue(1), 16, 16, "1" + _ue(8) + _ue(0) + _ue(0) + _ue(0))
        )


def test_a_sequence_of_sub_layers_is_read_past_their_profiles() -> None:
    # Three sub-layers: the first has a profile and a level, the second a level.
    bits = f"{3:04b}{2:03b}1" + "0" * 96 + "11" + "01" + "00" * 6 + "0" * 88 + "0" * 8 + "0" * 8
    sps = parse_sps(_sps(bits + _ue(2) + _ue(1), 1280, 720, "0"))
    assert (sps.identifier, sps.vps_id, sps.width, sps.height) == (2, 3, 1280, 720)


def _sps(start: str, width: int, height: int, window: str) -> bytes:
    """An SPS NAL unit up to its bit depths, escaped as encoders do."""
    bits = start + _ue(width) + _ue(height) + window + _ue(0) + _ue(0) + "1"
    bits += "0" * (-len(bits) % 8)
    nal = bytearray(b"\x42\x01")
    for byte in int(bits, 2).to_bytes(len(bits) // 8, "big"):
        if byte <= 3 and nal[-2:] == b"\0\0":
            nal.append(3)
        nal.append(byte)
    return bytes(nal)


def _ue(value: int) -> str:
    return "0" * ((value + 1).bit_length() - 1) + f"{value + 1:b}"


def test_parameter_set_ids_are_read() -> None:
    assert parse_vps_id(VPS) == 0
    assert parse_pps_ids(PPS) == (0, 0)
    assert parse_slice_pps_id(next(nal for nal in ACCESS_UNIT if nal[0] >> 1 == 20)) == 0


@pytest.mark.parametrize("irap", [IDR, CRA, BLA])
def test_an_irap_picture_gets_the_parameter_sets_that_came_before(irap: bytes) -> None:
    h265 = H265Depacketiser()
    alone = h265.assemble(packets_of([irap]))
    assert alone is not None
    assert (alone.data, alone.sync_sample) == (with_lengths(irap), False)
    assert h265.assemble(packets_of(h265_payloads([VPS, SPS, PPS]))) is None
    after = h265.assemble(packets_of([irap]))
    assert after is not None
    assert (after.data, after.sync_sample) == (with_lengths(VPS, SPS, PPS, irap), True)
    assert (after.width, after.height) == (318, 238)
    some = h265.assemble(packets_of(h265_payloads([DELIMITER, SPS, SEI, irap])))
    assert some is not None
    assert some.data == with_lengths(DELIMITER, VPS, PPS, SPS, SEI, irap)
    whole = h265.assemble(packets_of(h265_payloads([DELIMITER, VPS, SPS, PPS, irap])))
    assert whole is not None
    assert whole.data == with_lengths(DELIMITER, VPS, SPS, PPS, irap)


@pytest.mark.parametrize("known", [[SPS, PPS], [VPS, PPS], [VPS, SPS]])
def test_with_a_parameter_set_missing_it_is_no_sync_sample(known: list[bytes]) -> None:
    h265 = H265Depacketiser()
    h265.assemble(packets_of(h265_payloads(known)))
    assembled = h265.assemble(packets_of([IDR]))
    assert assembled is not None
    assert (assembled.data, assembled.sync_sample) == (with_lengths(IDR), False)


def test_parameter_sets_of_another_layer_do_not_replace_those_of_the_base() -> None:
    h265 = H265Depacketiser()
    other = bytes((SPS[0] | 0, SPS[1] | 0x08)) + SPS[2:40]
    h265.assemble(packets_of(h265_payloads([VPS, SPS, PPS, other])))
    assembled = h265.assemble(packets_of([IDR]))
    assert assembled is not None
    assert SPS in assembled.data
    assert other not in assembled.data


@pytest.mark.parametrize(
    ("first", "starts", "sync"),
    [
        ([DELIMITER, IDR], True, False),
        ([VPS, SPS], True, True),
        ([VPS], True, True),
        ([SPS], False, True),
        ([PPS], False, False),
        ([IDR], False, True),
        ([CRA], False, True),
        ([SLICE], True, False),
        ([LATER_SLICE], False, False),
        ([SEI, SLICE], False, False),
    ],
)
def test_what_a_first_packet_shows(first: list[bytes], starts: bool, sync: bool) -> None:
    h265 = H265Depacketiser()
    (packet,) = packets_of(h265_payloads(first))
    assert (h265.starts_frame(packet), h265.starts_sync_sample(packet)) == (starts, sync)
    assert not h265.ends_frame(packet)
    assert not h265.follows(packet, packet)


@pytest.mark.parametrize(("unit", "starts", "sync"), [(SLICE + bytes(50), True, False), (IDR + bytes(50), False, True)])
def test_only_the_first_fragment_shows_its_unit(unit: bytes, starts: bool, sync: bool) -> None:
    h265 = H265Depacketiser()
    first, *rest = packets_of(h265_payloads([unit], 20))
    assert (h265.starts_frame(first), h265.starts_sync_sample(first)) == (starts, sync)
    assert not any(h265.starts_frame(packet) or h265.starts_sync_sample(packet) for packet in rest)


def test_a_packet_too_short_shows_nothing() -> None:
    h265 = H265Depacketiser()
    for payload in (b"\x02", b"\x02\x01", b"\x60\x01", b"\x62\x01", b"\x62\x01\x81", b"\x60\x01\x00\x09\x02"):
        (packet,) = packets_of([payload])
        assert not h265.starts_frame(packet)
        assert not h265.starts_sync_sample(packet)
    assert not h265.starts_frame(Sender().padding(0))


def malformed() -> dict[str, list[bytes]]:
    start, middle, *_, end = h265_payloads([IDR + bytes(100)], 30)
    return {
        "without its start": [middle, end],
        "without its end": [start, middle],
        "a second start": [start, start],
        "cut by a single unit": [start, SLICE],
        "cut by an aggregate": [start, h265_payloads([SEI, SLICE])[0]],
        "header only": [b"\x02\x01"],
        "fragment header only": [b"\x62\x01\x81"],
        "aggregate size beyond its end": [b"\x60\x01\x00\x09\x02\x01\x80"],
        "aggregate size of nothing": [b"\x60\x01\x00\x00\x02\x01\x80"],
        "aggregate with half a size": [b"\x60\x01\x00\x03\x02\x01\x80\x00"],
        "PACI": [b"\x64\x01\x00\x00"],
        "SPS cut short": h265_payloads([SPS[:12], IDR]),
        "IDR slice cut short": [b"\x28\x01\x80"],
    }


@pytest.mark.parametrize("name", malformed())
def test_refuses_what_is_no_whole_access_unit(name: str) -> None:
    with pytest.raises(RtpError):
        H265Depacketiser().assemble(packets_of(malformed()[name]))


@settings(max_examples=200)
@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=4))
def test_any_payloads_are_read_or_refused(payloads: list[bytes]) -> None:
    h265 = H265Depacketiser()
    packets = packets_of(payloads)
    for packet in packets:
        h265.starts_frame(packet)
        h265.starts_sync_sample(packet)
    try:
        assembled = h265.assemble(packets)
    except RtpError:
        return
    assert assembled is None or assembled.data
