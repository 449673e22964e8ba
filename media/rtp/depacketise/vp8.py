"""VP8 over RTP (RFC 7741)."""

from collections.abc import Sequence

from media.errors import RtpError
from media.frames import Codec
from media.rtp.depacketise.depacketiser import Assembled, Decrypt
from media.rtp.packet import RtpPacket

_EXTENDED = 0x80
_START_OF_PARTITION = 0x10
_PARTITION_INDEX = 0x07
_HAS_PICTURE_ID = 0x80
_LONG_PICTURE_ID = 0x80
# S set and partition index 0: the first packet of a frame (RFC 7741 section 4.2).
_FRAME_START_MASK = _START_OF_PARTITION | _PARTITION_INDEX
_FRAME_START = _START_OF_PARTITION

_KEYFRAME_START_CODE = b"\x9d\x01\x2a"
_KEYFRAME_HEADER_BYTES = 10
_DELTA_HEADER_BYTES = 3

# Octets that the fields of the extension octet X add, without a long picture id: I, L, and T or K.
_FIELD_OCTETS = tuple((x >> 7 & 1) + (x >> 6 & 1) + (1 if x & 0x30 else 0) for x in range(256))


def descriptor_bytes(data: bytes, start: int) -> int:
    """Length of the payload descriptor at `start` (RFC 7741 section 4.2). Raises IndexError when cut."""
    if not data[start] & _EXTENDED:
        return 1
    extension = data[start + 1]
    if extension & _HAS_PICTURE_ID and data[start + 2] & _LONG_PICTURE_ID:
        return 3 + _FIELD_OCTETS[extension]
    return 2 + _FIELD_OCTETS[extension]


def picture_id(packet: RtpPacket) -> tuple[int, int] | None:
    """(picture id, its bits: 7 or 15) or None where the packet has none."""
    payload = packet.data[packet.payload_start : packet.payload_start + 4]
    if packet.payload_end - packet.payload_start < 4:
        return None
    if not payload[0] & _EXTENDED or not payload[1] & _HAS_PICTURE_ID:
        return None
    if payload[2] & _LONG_PICTURE_ID:
        return (payload[2] & 0x7F) << 8 | payload[3], 15
    return payload[2], 7


class Vp8Depacketiser:
    """Joins the partitions of a frame; the result is the frame as libvpx and WebM know it."""

    codec = Codec.VP8
    packet_is_frame = False

    def starts_frame(self, packet: RtpPacket) -> bool:
        """Whether S is set and the partition index is 0."""
        if packet.payload_start >= packet.payload_end:
            return False
        return packet.data[packet.payload_start] & _FRAME_START_MASK == _FRAME_START

    def ends_frame(self, packet: RtpPacket) -> bool:
        """Never provable: only the marker tells."""
        return False

    def starts_sync_sample(self, packet: RtpPacket) -> bool:
        """Whether it starts a frame whose header says key frame (RFC 6386 section 9.1)."""
        if not self.starts_frame(packet):
            return False
        header = packet.data[packet.payload_start : packet.payload_end][:8]
        at = descriptor_bytes(header.ljust(8), 0)
        return len(header) > at and not header[at] & 1

    def follows(self, last: RtpPacket, first: RtpPacket) -> bool:
        """Whether `first` starts a frame and its picture id is the next one (section 4.2, MUST)."""
        if not self.starts_frame(first):
            return False
        before, after = picture_id(last), picture_id(first)
        if before is None or after is None:
            return False
        bits = min(before[1], after[1])
        return (after[0] - before[0]) & ((1 << bits) - 1) == 1

    def assemble(self, packets: Sequence[RtpPacket]) -> Assembled:
        """The frame, with its size when it is a key frame. Raises `RtpError` as the protocol says."""
        return _inspect(self._join(packets))

    def assemble_encrypted(self, packets: Sequence[RtpPacket], decrypt: Decrypt) -> Assembled | None:
        """The clear frame: its header was clear before, its partition sizes hold only now."""
        clear = decrypt(self.codec, self._join(packets))
        return None if clear is None else _inspect(clear)

    def _join(self, packets: Sequence[RtpPacket]) -> bytes:
        chunks: list[bytes] = []
        try:
            for packet in packets:
                data = packet.data
                start = packet.payload_start
                # A frame starts in its first packet and nowhere else. The SFU closes a frame it
                # broke off with a packet of its own that starts one: such a frame is not whole.
                if (data[start] & _FRAME_START_MASK == _FRAME_START) is bool(chunks):
                    raise RtpError("the packets are not one whole VP8 frame; wait for a key frame")
                chunks.append(data[start + descriptor_bytes(data, start) : packet.payload_end])
        except IndexError as error:
            raise RtpError("a VP8 payload ends inside its descriptor; drop the frame") from error
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _inspect(frame: bytes) -> Assembled:
    """Read the frame header (RFC 6386 section 9.1); its partition sizes tell a frame that was cut."""
    if len(frame) < _DELTA_HEADER_BYTES:
        raise RtpError(f"a VP8 frame of {len(frame)} bytes has no header; drop it")
    first_partition_bytes = (frame[0] | frame[1] << 8 | frame[2] << 16) >> 5
    if frame[0] & 1:
        if _DELTA_HEADER_BYTES + first_partition_bytes > len(frame):
            raise RtpError("the VP8 frame is shorter than its first partition; drop it")
        return Assembled(frame, sync_sample=False)
    if frame[3:6] != _KEYFRAME_START_CODE or _KEYFRAME_HEADER_BYTES + first_partition_bytes > len(frame):
        raise RtpError("the VP8 key frame has no start code or is shorter than its first partition; drop it")
    width = (frame[6] | frame[7] << 8) & 0x3FFF
    height = (frame[8] | frame[9] << 8) & 0x3FFF
    return Assembled(frame, True, width, height)
