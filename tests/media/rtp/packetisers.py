"""Senders for the tests: frames to RTP packets of each codec, as publishers make them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from media.rtp.packet import RtpPacket

VP8_PAYLOAD_TYPE = 96
VP9_PAYLOAD_TYPE = 98
AV1_PAYLOAD_TYPE = 35
H265_PAYLOAD_TYPE = 116
H264_PAYLOAD_TYPE = 102
OPUS_PAYLOAD_TYPE = 111
RED_PAYLOAD_TYPE = 63
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


def h265_payloads(nals: Sequence[bytes], max_bytes: int = 1100) -> list[bytes]:
    """RFC 7798: neighbours that fit in aggregates, large units in fragments, others alone."""
    payloads: list[bytes] = []
    group: list[bytes] = []
    for nal in [*nals, b""]:
        if group and (not nal or sum(map(len, group)) + len(nal) + 2 * len(group) + 4 > max_bytes):
            sizes = (len(unit).to_bytes(2, "big") + unit for unit in group)
            payloads.append(group[0] if len(group) == 1 else b"\x60\x01" + b"".join(sizes))
            group = []
        if len(nal) > max_bytes:
            payloads.extend(_fragment_h265(nal, max_bytes))
        elif nal:
            group.append(nal)
    return payloads


def _fragment_h265(nal: bytes, max_bytes: int) -> Iterator[bytes]:
    body = nal[2:]
    pieces = [body[start : start + max_bytes] for start in range(0, len(body), max_bytes)]
    for index, piece in enumerate(pieces):
        flags = (0x80 if index == 0 else 0) | (0x40 if index == len(pieces) - 1 else 0)
        yield bytes((nal[0] & 0x81 | 49 << 1, nal[1], flags | nal[0] >> 1 & 0x3F)) + piece


def vp9_payloads(
    layers: Sequence[bytes],
    picture_id: int | None = 0,
    max_bytes: int = 1100,
    *,
    keyframe: bool = False,
    flexible: bool = True,
    first_layer: int = 0,
) -> list[bytes]:
    """RFC 9628 as libwebrtc does it: layer frames one after the other, a 15-bit picture id, indices where several.

    `first_layer` above 0 is what a server sends that left out the layers below.
    """
    payloads = []
    scalable = len(layers) > 1 or first_layer > 0
    for spatial, frame in enumerate(layers, first_layer):
        inter = not keyframe
        for start in range(0, len(frame), max_bytes):
            flags = (0x40 if inter else 0) | (0x20 if scalable else 0) | (0x10 if flexible else 0)
            flags |= (0x08 if start == 0 else 0) | (0x04 if start + max_bytes >= len(frame) else 0)
            descriptor = b""
            if picture_id is not None:
                flags |= 0x80
                descriptor += bytes((0x80 | picture_id >> 8 & 0x7F, picture_id & 0xFF))
            if scalable:
                descriptor += bytes((spatial << 1 | (1 if spatial > first_layer else 0),))
                descriptor += b"" if flexible else b"\x07"
            if flexible and inter:
                descriptor += b"\x02"
            if keyframe and start == 0 and spatial == 0:
                flags |= 0x02
                descriptor += _scalability_structure(len(layers))
            payloads.append(bytes((flags,)) + descriptor + frame[start : start + max_bytes])
    return payloads


def _scalability_structure(layers: int) -> bytes:
    """Sizes for each layer and a group of two pictures, the second with two references."""
    sizes = b"".join((160 << layer).to_bytes(2, "big") + (90 << layer).to_bytes(2, "big") for layer in range(layers))
    return bytes((layers - 1 << 5 | 0x18,)) + sizes + b"\x02\x04\x01\x28\x01\x02"


def av1_payloads(obus: Sequence[bytes], max_bytes: int = 1100, *, new_sequence: bool = False) -> list[bytes]:
    """OBUs (as they stand, with or without sizes) by the AOMedia payload format: each element with its length.

    Packets are filled to `max_bytes`; an OBU that does not fit is continued in the next.
    """
    payloads: list[bytes] = []
    body, header = bytearray(), 0x08 if new_sequence else 0
    for obu in obus:
        at = 0
        while at < len(obu):
            room = max_bytes - len(body) - 3
            if room <= 0:
                payloads.append(bytes((header,)) + bytes(body))
                body, header, room = bytearray(), 0x80 if at else 0, max_bytes - 3
            piece = obu[at : at + room]
            at += len(piece)
            body += _leb128(len(piece)) + piece
            if at < len(obu):
                payloads.append(bytes((header | 0x40,)) + bytes(body))
                body, header = bytearray(), 0x80
    payloads.append(bytes((header,)) + bytes(body))
    return payloads


def split_temporal_unit(data: bytes) -> list[bytes]:
    """The OBUs of a temporal unit in low-overhead format, as they stand."""
    obus = []
    at = 0
    while at < len(data):
        start = at
        at += 2 if data[at] & 0x04 else 1
        size = shift = 0
        while True:
            byte = data[at]
            size |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                break
        at += size
        obus.append(data[start:at])
    return obus


def without_size(obu: bytes) -> bytes:
    """An OBU as senders put it into packets: obu_has_size_field is 0."""
    header_bytes = 2 if obu[0] & 0x04 else 1
    at = header_bytes
    while obu[at] & 0x80:
        at += 1
    return bytes((obu[0] & 0xFD,)) + obu[1:header_bytes] + obu[at + 1 :]


def _leb128(value: int) -> bytes:
    return bytes((value,)) if value < 0x80 else bytes((value & 0x7F | 0x80,)) + _leb128(value >> 7)


def red_payload(primary: bytes, redundant: Sequence[tuple[int, bytes]] = ()) -> bytes:
    """RFC 2198 with Opus in all blocks; `redundant` are (timestamp offset, payload), oldest first."""
    headers = b"".join(
        (0x80 | OPUS_PAYLOAD_TYPE).to_bytes(1, "big") + (offset << 10 | len(block)).to_bytes(3, "big")
        for offset, block in redundant
    )
    return headers + bytes((OPUS_PAYLOAD_TYPE,)) + b"".join(block for _, block in redundant) + primary


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
