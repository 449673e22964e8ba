"""RTCP (RFC 3550 section 6, RFC 4585, REMB): compound packets to values, and what a receiver sends."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from struct import Struct
from typing import TypeAlias

from media.errors import RtpError

# Seconds from the NTP era of 1900 to the Unix era of 1970 (RFC 868).
NTP_UNIX_OFFSET_S = 2_208_988_800

_SENDER_REPORT = 200
_RECEIVER_REPORT = 201
_SOURCE_DESCRIPTION = 202
_GOODBYE = 203
_TRANSPORT_FEEDBACK = 205
_PAYLOAD_FEEDBACK = 206
_GENERIC_NACK = 1
_PICTURE_LOSS_INDICATION = 1
_APPLICATION_LAYER_FEEDBACK = 15
_CNAME = 1

_HEADER = Struct("!BBH")
_SENDER_INFO = Struct("!IQIII")
_REPORT_BLOCK = Struct("!IIIIII")
_FEEDBACK = Struct("!II")
_NACK_ITEM = Struct("!HH")
_WORD = Struct("!I")
_MAX_REPORT_BLOCKS = 31


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """RFC 3550 section 6.4.1. `jitter` in RTP ticks, `dlsr` in 1/65536 s, `lsr` the middle 32 NTP bits.

    `packets_lost` is signed and clamped to 24 bits; `fraction_lost` in 1/256.
    """

    ssrc: int
    fraction_lost: int
    packets_lost: int
    highest_sequence: int
    jitter: int
    lsr: int
    dlsr: int


@dataclass(frozen=True, slots=True)
class SenderReport:
    """RFC 3550 section 6.4.1: at `ntp_time` (Unix seconds) the RTP clock showed `rtp_timestamp`."""

    ssrc: int
    ntp_timestamp: int
    ntp_time: float
    rtp_timestamp: int
    packet_count: int
    octet_count: int
    reports: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    """RFC 3550 section 6.4.2."""

    ssrc: int
    reports: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceDescription:
    """RFC 3550 section 6.5: the CNAME of each SSRC; other items are left out."""

    cnames: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Goodbye:
    """RFC 3550 section 6.6."""

    ssrcs: tuple[int, ...]


RtcpPacket: TypeAlias = SenderReport | ReceiverReport | SourceDescription | Goodbye


def ntp_to_unix(ntp_timestamp: int) -> float:
    """Unix seconds of a 64-bit NTP timestamp (RFC 5905 section 6), of era 0 or, from 2036 on, era 1."""
    if not ntp_timestamp >> 63:
        ntp_timestamp += 1 << 64
    return ntp_timestamp / (1 << 32) - NTP_UNIX_OFFSET_S


def unix_to_ntp(unix_time: float) -> int:
    """The 64-bit NTP timestamp of a Unix time in seconds."""
    return round((unix_time + NTP_UNIX_OFFSET_S) * (1 << 32)) & 0xFFFF_FFFF_FFFF_FFFF


def parse_compound(data: bytes) -> tuple[RtcpPacket, ...]:
    """All packets of an RTCP datagram that this project reads; others are skipped.

    Raises `RtpError` when a length does not fit or a known packet is cut short.
    """
    packets: list[RtcpPacket] = []
    at = 0
    while at < len(data):
        if at + 4 > len(data):
            raise RtpError("the RTCP datagram ends inside a header; drop it")
        first, packet_type, words = _HEADER.unpack_from(data, at)
        end = at + 4 + 4 * words
        if first >> 6 != 2 or end > len(data):
            raise RtpError("the RTCP version is not 2 or a length exceeds the datagram; drop it")
        body = data[at + 4 : end - (data[end - 1] if first & 0x20 else 0)]
        packet = _parse_body(packet_type, first & 0x1F, body)
        if packet is not None:
            packets.append(packet)
        at = end
    return tuple(packets)


def build_receiver_report(ssrc: int, reports: Iterable[ReportBlock], cname: str) -> bytes:
    """A compound of a receiver report (the first 31 blocks) and the CNAME every compound has to carry."""
    blocks = tuple(reports)[:_MAX_REPORT_BLOCKS]
    body = _WORD.pack(ssrc) + b"".join(map(_pack_report_block, blocks))
    return _pack(_RECEIVER_REPORT, len(blocks), body) + build_source_description(ssrc, cname)


def build_source_description(ssrc: int, cname: str) -> bytes:
    """An SDES packet with one CNAME of at most 255 bytes of UTF-8."""
    text = cname.encode()[:255]
    item = bytes((_CNAME, len(text))) + text
    # At least one null octet ends the list of items; it fills up the 32-bit word.
    return _pack(_SOURCE_DESCRIPTION, 1, _WORD.pack(ssrc) + item + bytes(4 - len(item) % 4))


def build_sender_report(report: SenderReport) -> bytes:
    """A sender report from its raw 64-bit `ntp_timestamp`."""
    info = _SENDER_INFO.pack(
        report.ssrc,
        report.ntp_timestamp,
        report.rtp_timestamp,
        report.packet_count,
        report.octet_count,
    )
    blocks = report.reports[:_MAX_REPORT_BLOCKS]
    return _pack(_SENDER_REPORT, len(blocks), info + b"".join(map(_pack_report_block, blocks)))


def build_nack(sender_ssrc: int, media_ssrc: int, sequence_numbers: Iterable[int]) -> bytes:
    """A Generic NACK (RFC 4585 section 6.2.1) for at least one 16-bit sequence number, oldest first."""
    body = _FEEDBACK.pack(sender_ssrc, media_ssrc)
    items = b"".join(_NACK_ITEM.pack(pid, blp) for pid, blp in pack_nack_items(sequence_numbers))
    return _pack(_TRANSPORT_FEEDBACK, _GENERIC_NACK, body + items)


def pack_nack_items(sequence_numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """(PID, BLP) pairs: a packet's number and a bit mask of the 16 that follow it."""
    pid = -1
    blp = 0
    for sequence_number in sequence_numbers:
        distance = (sequence_number - pid) & 0xFFFF
        if pid >= 0 and distance == 0:
            continue
        if pid >= 0 and distance <= 16:
            blp |= 1 << (distance - 1)
            continue
        if pid >= 0:
            yield pid, blp
        pid, blp = sequence_number, 0
    if pid >= 0:
        yield pid, blp


_MOST_NAMED = 255


def build_pli(sender_ssrc: int, media_ssrc: int) -> bytes:
    """A Picture Loss Indication (RFC 4585 section 6.3.1)."""
    return _pack(_PAYLOAD_FEEDBACK, _PICTURE_LOSS_INDICATION, _FEEDBACK.pack(sender_ssrc, media_ssrc))


def build_remb(sender_ssrc: int, bitrate_bps: int, media_ssrcs: tuple[int, ...]) -> bytes:
    """A Receiver Estimated Maximum Bitrate (draft-alvestrand-rmcat-remb-03 section 2.2).

    It is of all media, whichever streams it names: of more than 255 the others are left out.
    """
    media_ssrcs = media_ssrcs[:_MOST_NAMED]
    exponent = max(0, bitrate_bps.bit_length() - 18)
    rate = exponent << 18 | bitrate_bps >> exponent
    body = _FEEDBACK.pack(sender_ssrc, 0) + b"REMB" + _WORD.pack(len(media_ssrcs) << 24 | rate)
    body += b"".join(map(_WORD.pack, media_ssrcs))
    return _pack(_PAYLOAD_FEEDBACK, _APPLICATION_LAYER_FEEDBACK, body)


def _pack(packet_type: int, count: int, body: bytes) -> bytes:
    return _HEADER.pack(0x80 | count, packet_type, len(body) // 4) + body


def _pack_report_block(block: ReportBlock) -> bytes:
    lost = max(-(1 << 23), min((1 << 23) - 1, block.packets_lost)) & 0xFF_FFFF
    return _REPORT_BLOCK.pack(
        block.ssrc,
        block.fraction_lost << 24 | lost,
        block.highest_sequence & 0xFFFF_FFFF,
        min(block.jitter, 0xFFFF_FFFF),
        block.lsr,
        block.dlsr,
    )


def _parse_body(packet_type: int, count: int, body: bytes) -> RtcpPacket | None:
    if packet_type == _SENDER_REPORT:
        return _parse_sender_report(count, body)
    if packet_type == _RECEIVER_REPORT:
        _require(body, 4 + 24 * count)
        return ReceiverReport(_WORD.unpack_from(body)[0], _parse_report_blocks(count, body, 4))
    if packet_type == _SOURCE_DESCRIPTION:
        return _parse_source_description(count, body)
    if packet_type == _GOODBYE:
        _require(body, 4 * count)
        return Goodbye(tuple(_WORD.unpack_from(body, 4 * index)[0] for index in range(count)))
    return None


def _parse_sender_report(count: int, body: bytes) -> SenderReport:
    _require(body, 24 + 24 * count)
    ssrc, ntp_timestamp, rtp_timestamp, packet_count, octet_count = _SENDER_INFO.unpack_from(body)
    return SenderReport(
        ssrc=ssrc,
        ntp_timestamp=ntp_timestamp,
        ntp_time=ntp_to_unix(ntp_timestamp),
        rtp_timestamp=rtp_timestamp,
        packet_count=packet_count,
        octet_count=octet_count,
        reports=_parse_report_blocks(count, body, 24),
    )


def _parse_report_blocks(count: int, body: bytes, at: int) -> tuple[ReportBlock, ...]:
    return tuple(_parse_report_block(body, at + 24 * index) for index in range(count))


def _parse_report_block(body: bytes, at: int) -> ReportBlock:
    ssrc, loss, highest_sequence, jitter, lsr, dlsr = _REPORT_BLOCK.unpack_from(body, at)
    lost = loss & 0xFF_FFFF
    return ReportBlock(
        ssrc=ssrc,
        fraction_lost=loss >> 24,
        packets_lost=lost - (1 << 24) if lost >> 23 else lost,
        highest_sequence=highest_sequence,
        jitter=jitter,
        lsr=lsr,
        dlsr=dlsr,
    )


def _parse_source_description(count: int, body: bytes) -> SourceDescription:
    cnames: list[tuple[int, str]] = []
    at = 0
    for _ in range(count):
        _require(body, at + 4)
        ssrc = _WORD.unpack_from(body, at)[0]
        at += 4
        while at < len(body) and body[at]:
            _require(body, at + 2)
            kind, length = body[at], body[at + 1]
            _require(body, at + 2 + length)
            if kind == _CNAME:
                cnames.append((ssrc, body[at + 2 : at + 2 + length].decode(errors="replace")))
            at += 2 + length
        at += 4 - at % 4
    return SourceDescription(tuple(cnames))


def _require(body: bytes, length: int) -> None:
    if len(body) < length:
        raise RtpError(f"an RTCP packet needs {length} bytes here and has {len(body)}; drop it")
