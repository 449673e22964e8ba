"""Senders for the tests: frames to RTP packets of VP8, H.264 and Opus, as publishers make them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from media.rtp.packet import RtpPacket

VP8_PAYLOAD_TYPE = 96
H264_PAYLOAD_TYPE = 102
OPUS_PAYLOAD_TYPE = 111
RTX_PAYLOAD_TYPE = 97
SSRC = 0x1234_5678
RTX_SSRC = 0x8765_4321


def vp8_frame(*, keyframe: bool, size: int = 400, seed: int = 0, width: int = 640, height: int = 360) -> bytes:
    """Bytes with a valid VP8 frame header and a body that tells frames apart."""
    header = bytes(3) + b"\x9d\x01\x2a" + width.to_bytes(2, "little") + height.to_bytes(2, "little")
    if not keyframe:
        header = bytes(3)
    body_bytes = max(1, size - len(header))
    body = (seed.to_bytes(4, "big") * (body_bytes // 4 + 1))[:body_bytes]
    tag = (min(body_bytes, 0x7FFFF) << 5) | 0x10 | (0 if keyframe else 1)
    return tag.to_bytes(3, "little") + header[3:] + body


def vp8_payloads(frame: bytes, picture_id: int | None = 0, max_bytes: int = 1100) -> list[bytes]:
    """RFC 7741 with one partition: S on the first packet, a 15-bit picture id on each."""
    payloads = []
    for start in range(0, len(frame), max_bytes):
        first = 0x10 if start == 0 else 0
        if picture_id is None:
            descriptor = bytes((first,))
        else:
            number = picture_id & 0x7FFF
            descriptor = bytes((0x80 | first, 0x80, 0x80 | number >> 8, number & 0xFF))
        payloads.append(descriptor + frame[start : start + max_bytes])
    return payloads


def h264_payloads(nals: Sequence[bytes], max_bytes: int = 1100, *, aggregate: bool = True) -> list[bytes]:
    """RFC 6184: small neighbours in STAP-A, large units in FU-A, others alone."""
    payloads: list[bytes] = []
    group: list[bytes] = []
    for nal in nals:
        if group and (not aggregate or sum(map(len, group)) + len(nal) + 2 * len(group) + 3 > max_bytes):
            payloads.append(_aggregate(group))
            group = []
        if len(nal) > max_bytes:
            payloads.extend(_fragment(nal, max_bytes))
        else:
            group.append(nal)
            continue
        if group:
            payloads.insert(len(payloads) - 1, _aggregate(group))
            group = []
    if group:
        payloads.append(_aggregate(group))
    return payloads


def _aggregate(nals: Sequence[bytes]) -> bytes:
    if len(nals) == 1:
        return nals[0]
    return b"\x78" + b"".join(len(nal).to_bytes(2, "big") + nal for nal in nals)


def _fragment(nal: bytes, max_bytes: int) -> Iterator[bytes]:
    body = nal[1:]
    pieces = [body[start : start + max_bytes] for start in range(0, len(body), max_bytes)]
    for index, piece in enumerate(pieces):
        flags = (0x80 if index == 0 else 0) | (0x40 if index == len(pieces) - 1 else 0)
        yield bytes((nal[0] & 0xE0 | 28, flags | nal[0] & 0x1F)) + piece


def split_annex_b(data: bytes) -> list[bytes]:
    """NAL units between start codes."""
    units = data.replace(b"\x00\x00\x00\x01", b"\x00\x00\x01").split(b"\x00\x00\x01")
    return [unit for unit in units if unit]


def annex_b(avc: bytes) -> bytes:
    """Length-prefixed NAL units as a byte stream with start codes."""
    stream = b""
    at = 0
    while at < len(avc):
        size = int.from_bytes(avc[at : at + 4], "big")
        stream += b"\x00\x00\x00\x01" + avc[at + 4 : at + 4 + size]
        at += 4 + size
    return stream


@dataclass
class Sender:
    """Numbers packets as an SFU does: one sequence for frames and padding."""

    payload_type: int = VP8_PAYLOAD_TYPE
    ssrc: int = SSRC
    sequence_number: int = 65_500
    picture_id: int = 126
    sent: dict[int, RtpPacket] = field(default_factory=dict)

    def frame(self, payloads: Iterable[bytes], timestamp: int, *, marker: bool = True) -> list[RtpPacket]:
        """The packets of one frame; the last one has the marker."""
        rest = list(payloads)
        return [
            self.packet(payload, timestamp, marker=marker and index == len(rest) - 1)
            for index, payload in enumerate(rest)
        ]

    def vp8(self, frame: bytes, timestamp: int, max_bytes: int = 1100) -> list[RtpPacket]:
        """A VP8 frame with the next picture id."""
        packets = self.frame(vp8_payloads(frame, self.picture_id, max_bytes), timestamp)
        self.picture_id = self.picture_id + 1 & 0x7FFF
        return packets

    def packet(self, payload: bytes, timestamp: int, *, marker: bool = False, padding: int = 0) -> RtpPacket:
        """One packet with the next sequence number."""
        packet = RtpPacket.build(
            payload_type=self.payload_type,
            sequence_number=self.sequence_number,
            timestamp=timestamp & 0xFFFF_FFFF,
            ssrc=self.ssrc,
            payload=payload,
            marker=marker,
            padding_bytes=padding,
        )
        self.sequence_number = self.sequence_number + 1 & 0xFFFF
        self.sent[packet.sequence_number] = packet
        return packet

    def padding(self, timestamp: int) -> RtpPacket:
        """A padding-only packet, as the server probes for bandwidth."""
        return self.packet(b"", timestamp, padding=255)

    def rtx(self, original: RtpPacket, sequence_number: int = 0) -> RtpPacket:
        """A retransmission by RFC 4588."""
        return RtpPacket.build(
            payload_type=RTX_PAYLOAD_TYPE,
            sequence_number=sequence_number,
            timestamp=original.timestamp,
            ssrc=RTX_SSRC,
            payload=original.sequence_number.to_bytes(2, "big") + original.payload,
            marker=original.marker,
        )
