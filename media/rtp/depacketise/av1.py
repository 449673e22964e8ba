"""AV1 over RTP (AOMedia, "RTP Payload Format For AV1" v1.0.0)."""

from collections.abc import Sequence

from media.bitstream.av1_obu import Obu, ObuType, with_size
from media.bitstream.av1_sequence_header import SequenceHeader, parse_sequence_header
from media.bitstream.bits import read_leb128
from media.errors import RtpError
from media.frames import Codec
from media.rtp.depacketise.av1_frames import is_key_frame, picture_size
from media.rtp.depacketise.depacketiser import Assembled, Decrypt
from media.rtp.depacketise.dependency_descriptor import DependencyDescriptor
from media.rtp.packet import RtpPacket

# The aggregation header (section 4.4).
_CONTINUES = 0x80
_GOES_ON = 0x40
_NEW_SEQUENCE = 0x08

# What a stored sample leaves out (AV1-ISOBMFF section 2.4).
_NOT_STORED = frozenset({ObuType.TEMPORAL_DELIMITER, ObuType.TILE_LIST, ObuType.PADDING})
_PICTURE = frozenset({ObuType.FRAME, ObuType.FRAME_HEADER, ObuType.TILE_GROUP})


class Av1Depacketiser:
    """Joins the OBUs of a temporal unit in low-overhead format, each with its size.

    A key frame without a sequence header in its temporal unit gets the last one seen in front, so
    that a file can start with it; where none ever came, it is no sync sample.
    """

    codec = Codec.AV1
    packet_is_frame = False

    def __init__(self, dependency_descriptor_id: int | None = None) -> None:
        """`dependency_descriptor_id`: the negotiated id of that header extension, if it is."""
        self._descriptor_id = dependency_descriptor_id
        self._sequence_obu = b""
        self._sequence: SequenceHeader | None = None

    def starts_frame(self, packet: RtpPacket) -> bool:
        """Whether it starts a coded video sequence or begins with an OBU that only a temporal unit's start has.

        Any other OBU proves nothing: what is missing before it may be the layer below.
        """
        payload = packet.data[packet.payload_start : min(packet.payload_start + 12, packet.payload_end)]
        if not payload or payload[0] & _CONTINUES:
            return False
        if payload[0] & _NEW_SEQUENCE:
            return True
        return _first_obu_type(payload) in {ObuType.TEMPORAL_DELIMITER, ObuType.SEQUENCE_HEADER}

    def ends_frame(self, packet: RtpPacket) -> bool:
        """Whether the dependency descriptor says that it ends a layer frame."""
        descriptor = self._descriptor(packet)
        return descriptor is not None and descriptor.end_of_frame

    def starts_sync_sample(self, packet: RtpPacket) -> bool:
        """Whether it starts a coded video sequence (bit N), or begins with a sequence header."""
        return self.starts_frame(packet)

    def follows(self, last: RtpPacket, first: RtpPacket) -> bool:
        """Whether the dependency descriptors number their frames one after the other."""
        before, after = self._descriptor(last), self._descriptor(first)
        if before is None or after is None or not (before.end_of_frame and after.start_of_frame):
            return False
        return (after.frame_number - before.frame_number) & 0xFFFF == 1

    def assemble(self, packets: Sequence[RtpPacket]) -> Assembled | None:
        """The temporal unit; None when it holds no frame. Raises `RtpError` as the protocol says."""
        frames: list[Obu] = []
        stored: list[bytes] = []
        has_sequence = False
        has_picture = False
        for element in split_obus(packets):
            obu = Obu.parse(element)
            if obu.type in _NOT_STORED:
                continue
            stored.append(with_size(obu))
            if obu.type == ObuType.SEQUENCE_HEADER:
                self._sequence, self._sequence_obu = parse_sequence_header(obu.payload), stored[-1]
                has_sequence = True
            elif obu.type in _PICTURE:
                has_picture = True
                if obu.type != ObuType.TILE_GROUP:
                    frames.append(obu)
        if not has_picture:
            return None
        if not frames or self._sequence is None or not is_key_frame(frames[0], self._sequence):
            return Assembled(b"".join(stored), sync_sample=False)
        if not has_sequence:
            stored.insert(0, self._sequence_obu)
        return Assembled(b"".join(stored), True, *picture_size(frames, self._sequence))

    def assemble_encrypted(self, packets: Sequence[RtpPacket], decrypt: Decrypt) -> Assembled | None:
        """Nothing: ciphertext is cut into OBUs that it does not have, and cannot be put together again."""
        decrypt(self.codec, packets[0].data[packets[0].payload_start :])
        return None

    def _descriptor(self, packet: RtpPacket) -> DependencyDescriptor | None:
        if self._descriptor_id is None:
            return None
        value = packet.extension(self._descriptor_id)
        return None if value is None else DependencyDescriptor.parse(value)


def _first_obu_type(payload: bytes) -> int:
    """The type of the OBU that begins after the aggregation header; -1 where it does not show."""
    at = 1
    # W of 1 says that the only element has no length before it.
    if payload[0] >> 4 & 3 != 1:
        try:
            _, at = read_leb128(payload, 1, len(payload))
        except RtpError:
            return -1
    return payload[at] >> 3 & 0x0F if at < len(payload) else -1


def split_obus(packets: Sequence[RtpPacket]) -> list[bytes]:
    """The OBU elements of consecutive packets with their fragments joined (section 4.3), none of them empty.

    Raises `RtpError` on a fragment without its start or end and on lengths that do not fit.
    """
    obus: list[bytes] = []
    fragments: list[bytes] = []
    goes_on = False
    for packet in packets:
        data, start, end = packet.data, packet.payload_start, packet.payload_end
        if end - start < 2:
            raise RtpError("an AV1 payload is empty; drop the frame")
        header = data[start]
        if bool(header & _CONTINUES) is not goes_on:
            raise RtpError("an AV1 fragment lacks its start or its end; wait for a key frame")
        elements = _split_elements(data, start + 1, end, header >> 4 & 3)
        goes_on = bool(header & _GOES_ON)
        for element in elements[:-1]:
            fragments.append(element)
            _close(obus, fragments)
        fragments.append(elements[-1])
        if not goes_on:
            _close(obus, fragments)
    if goes_on:
        raise RtpError("an AV1 fragment has no end; wait for a key frame")
    return obus


def _close(obus: list[bytes], fragments: list[bytes]) -> None:
    obu = b"".join(fragments)
    fragments.clear()
    if obu:
        obus.append(obu)


def _split_elements(data: bytes, at: int, end: int, count: int) -> list[bytes]:
    """The elements of one packet; `count` is W: 0 where each has its length, else the last has none."""
    elements: list[bytes] = []
    while at < end and not (count and len(elements) == count - 1):
        size, at = read_leb128(data, at, end)
        if at + size > end:
            raise RtpError("the lengths in an AV1 payload do not fit; drop the frame")
        elements.append(data[at : at + size])
        at += size
    if count:
        if at >= end:
            raise RtpError("an AV1 payload has fewer elements than it says; drop the frame")
        elements.append(data[at:end])
    return elements
