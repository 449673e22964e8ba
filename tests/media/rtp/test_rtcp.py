"""RTCP against RFC 3550, RFC 4585 and aiortc's implementation."""

import aiortc.rtp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.errors import RtpError
from media.rtp import rtcp

BLOCK = rtcp.ReportBlock(
    ssrc=0x0A0B0C0D,
    fraction_lost=25,
    packets_lost=-3,
    highest_sequence=0x0001_FFFF,
    jitter=640,
    lsr=0x1122_3344,
    dlsr=65536,
)
REPORT = rtcp.SenderReport(
    ssrc=1,
    ntp_timestamp=(3_900_000_000 << 32) | 0x8000_0000,
    ntp_time=3_900_000_000.5 - rtcp.NTP_UNIX_OFFSET_S,
    rtp_timestamp=1234,
    packet_count=10,
    octet_count=1000,
    reports=(BLOCK,),
)


def test_a_sender_report_keeps_all_fields() -> None:
    assert rtcp.parse_compound(rtcp.build_sender_report(REPORT)) == (REPORT,)


def test_ntp_time_is_unix_seconds() -> None:
    assert rtcp.ntp_to_unix(rtcp.NTP_UNIX_OFFSET_S << 32) == 0.0
    assert rtcp.ntp_to_unix(rtcp.unix_to_ntp(1_700_000_000.25)) == 1_700_000_000.25
    after_2036 = 2_085_978_496.0 + 3600
    assert rtcp.ntp_to_unix(rtcp.unix_to_ntp(after_2036)) == after_2036


def test_aiortc_reads_our_receiver_report() -> None:
    data = rtcp.build_receiver_report(7, [BLOCK], "someone@example")
    report, description = aiortc.rtp.RtcpPacket.parse(data)
    assert isinstance(report, aiortc.rtp.RtcpRrPacket)
    assert report.ssrc == 7
    block = report.reports[0]
    assert (block.ssrc, block.fraction_lost, block.packets_lost) == (0x0A0B0C0D, 25, -3)
    assert (block.highest_sequence, block.jitter, block.lsr, block.dlsr) == (0x1FFFF, 640, 0x11223344, 65536)
    assert isinstance(description, aiortc.rtp.RtcpSdesPacket)
    assert description.chunks[0].items == [(1, b"someone@example")]
    assert rtcp.parse_compound(data) == (
        rtcp.ReceiverReport(7, (BLOCK,)),
        rtcp.SourceDescription(((7, "someone@example"),)),
    )


@pytest.mark.parametrize("length", range(9))
def test_a_description_of_any_length_fills_its_words(length: int) -> None:
    data = rtcp.build_source_description(7, "c" * length)
    assert len(data) % 4 == 0
    assert rtcp.parse_compound(data + data) == (rtcp.SourceDescription(((7, "c" * length),)),) * 2


def test_packets_lost_is_clamped_to_24_bits() -> None:
    block = rtcp.ReportBlock(1, 0, 1 << 30, 0, 0, 0, 0)
    (report, _) = rtcp.parse_compound(rtcp.build_receiver_report(1, [block], "c"))
    assert isinstance(report, rtcp.ReceiverReport)
    assert report.reports[0].packets_lost == (1 << 23) - 1


def test_at_most_31_blocks_fit_a_report() -> None:
    (report, _) = rtcp.parse_compound(rtcp.build_receiver_report(1, [BLOCK] * 40, "c"))
    assert isinstance(report, rtcp.ReceiverReport)
    assert len(report.reports) == 31


def test_reads_goodbye_and_skips_what_it_does_not_know() -> None:
    goodbye = bytes(aiortc.rtp.RtcpByePacket(sources=[5, 6]))
    application = bytes.fromhex("80cc0002 00000001 6e616d65")
    pli = rtcp.build_pli(1, 2)
    assert rtcp.parse_compound(application + pli + goodbye) == (rtcp.Goodbye((5, 6)),)


def test_padding_of_the_last_packet_is_no_content() -> None:
    padded = bytes.fromhex("a1cb0002 00000005 00000004")
    assert rtcp.parse_compound(padded) == (rtcp.Goodbye((5,)),)


@settings(max_examples=100)
@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        parsed = rtcp.parse_compound(data)
    except RtpError:
        return
    assert isinstance(parsed, tuple)


@settings(max_examples=100)
@given(st.sampled_from([200, 201, 202, 203]), st.integers(0, 31), st.binary(max_size=60))
def test_any_body_is_read_or_refused(packet_type: int, count: int, body: bytes) -> None:
    body += bytes(-len(body) % 4)
    data = bytes((0x80 | count, packet_type)) + (len(body) // 4).to_bytes(2, "big") + body
    try:
        parsed = rtcp.parse_compound(data)
    except RtpError:
        return
    assert len(parsed) <= 1


def test_refuses_a_length_beyond_the_datagram() -> None:
    with pytest.raises(RtpError):
        rtcp.parse_compound(bytes.fromhex("80c90002 00000001"))
    with pytest.raises(RtpError):
        rtcp.parse_compound(bytes.fromhex("80c90001 00000001 80"))


def unpack_nack(data: bytes) -> list[int]:
    (packet,) = aiortc.rtp.RtcpPacket.parse(data)
    assert isinstance(packet, aiortc.rtp.RtcpRtpfbPacket)
    assert (packet.fmt, packet.ssrc, packet.media_ssrc) == (1, 1, 2)
    return [number & 0xFFFF for number in packet.lost]


@settings(max_examples=50)
@given(st.integers(0, 0xFFFF), st.lists(st.integers(0, 100), min_size=1, max_size=60))
def test_aiortc_reads_our_nack(first: int, steps: list[int]) -> None:
    numbers = [first]
    for step in steps:
        numbers.append((numbers[-1] + step) & 0xFFFF)
    wanted = list(dict.fromkeys(numbers))
    assert unpack_nack(rtcp.build_nack(1, 2, numbers)) == wanted


def test_a_nack_packs_seventeen_into_one_item() -> None:
    numbers = [(65_530 + index) & 0xFFFF for index in range(18)]
    assert list(rtcp.pack_nack_items(numbers)) == [(65_530, 0xFFFF), (11, 0)]


def test_a_remb_names_as_many_streams_as_it_can() -> None:
    (remb,) = aiortc.rtp.RtcpPacket.parse(rtcp.build_remb(1, 4_160_000, tuple(range(300))))
    assert isinstance(remb, aiortc.rtp.RtcpPsfbPacket)
    assert aiortc.rtp.unpack_remb_fci(remb.fci) == (4_160_000, list(range(255)))


def test_aiortc_reads_our_pli_and_remb() -> None:
    (pli,) = aiortc.rtp.RtcpPacket.parse(rtcp.build_pli(1, 2))
    assert isinstance(pli, aiortc.rtp.RtcpPsfbPacket)
    assert (pli.fmt, pli.ssrc, pli.media_ssrc, pli.fci) == (1, 1, 2, b"")
    (remb,) = aiortc.rtp.RtcpPacket.parse(rtcp.build_remb(1, 4_160_000, (8, 9)))
    assert isinstance(remb, aiortc.rtp.RtcpPsfbPacket)
    bitrate_bps, ssrcs = aiortc.rtp.unpack_remb_fci(remb.fci)
    assert ssrcs == [8, 9]
    assert 0.999 * 4_160_000 <= bitrate_bps <= 4_160_000
