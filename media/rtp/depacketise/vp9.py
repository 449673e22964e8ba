"""VP9 over RTP (RFC 9628), spatial and temporal scalability included."""

from collections.abc import Sequence

from media.bitstream.vp9 import (
    build_superframe,
    is_frame,
    picture_size,
    split_superframe,
    starts_key_frame,
)
from media.errors import RtpError
from media.frames import Codec
from media.rtp.depacketise.depacketiser import Assembled, Decrypt
from media.rtp.packet import RtpPacket

_HAS_PICTURE_ID = 0x80
_INTER_PICTURE = 0x40
_HAS_LAYERS = 0x20
_FLEXIBLE = 0x10
_FRAME_START = 0x08
_FRAME_END = 0x04
_HAS_STRUCTURE = 0x02
_LONG_PICTURE_ID = 0x80
_MORE_REFERENCES = 0x01
_MAX_REFERENCES = 3

_STRUCTURE_HAS_SIZES = 0x10
_STRUCTURE_HAS_GROUP = 0x08


def descriptor_bytes(data: bytes, start: int) -> int:
    """Length of the payload descriptor at `start` (RFC 9628 section 4.2). Raises IndexError when cut."""
    flags = data[start]
    at = start + 1
    if flags & _HAS_PICTURE_ID:
        at += 2 if data[at] & _LONG_PICTURE_ID else 1
    if flags & _HAS_LAYERS:
        at += 1 if flags & _FLEXIBLE else 2
    if flags & _FLEXIBLE and flags & _INTER_PICTURE:
        references = 1
        while data[at] & _MORE_REFERENCES and references < _MAX_REFERENCES:
            references += 1
            at += 1
        at += 1
    if flags & _HAS_STRUCTURE:
        at += _structure_bytes(data, at)
    return at - start


def _structure_bytes(data: bytes, start: int) -> int:
    """Length of the scalability structure (section 4.2.1). Its sizes are those the frames carry too."""
    flags = data[start]
    at = start + 1
    if flags & _STRUCTURE_HAS_SIZES:
        at += 4 * ((flags >> 5) + 1)
    if flags & _STRUCTURE_HAS_GROUP:
        pictures = data[at]
        at += 1
        for _ in range(pictures):
            at += 1 + (data[at] >> 2 & 3)
    return at - start


def picture_id(packet: RtpPacket) -> tuple[int, int] | None:
    """(picture id, its bits: 7 or 15) or None where the packet has none."""
    payload = packet.data[packet.payload_start : min(packet.payload_start + 3, packet.payload_end)]
    if len(payload) < 3 or not payload[0] & _HAS_PICTURE_ID:
        return None
    if payload[1] & _LONG_PICTURE_ID:
        return (payload[1] & 0x7F) << 8 | payload[2], 15
    return payload[1], 7


def spatial_id(packet: RtpPacket) -> int:
    """The spatial layer of a packet; 0 where it has no layer indices."""
    payload = packet.data[packet.payload_start : min(packet.payload_start + 4, packet.payload_end)]
    if len(payload) < 4 or not payload[0] & _HAS_LAYERS:
        return 0
    at = 1
    if payload[0] & _HAS_PICTURE_ID:
        at = 3 if payload[1] & _LONG_PICTURE_ID else 2
    return payload[at] >> 1 & 7


class Vp9Depacketiser:
    """Joins the layer frames of a picture; several make a superframe with its index (VP9 Annex B).

    The server leaves out spatial layers above the one it sends, and below it what that one does
    not need; what it sends of a picture is the picture.
    """

    codec = Codec.VP9
    packet_is_frame = False

    def starts_frame(self, packet: RtpPacket) -> bool:
        """Whether it starts a frame of the lowest spatial layer.

        One of another layer proves nothing: the layer below may be what is missing before it.
        """
        if packet.payload_start >= packet.payload_end:
            return False
        return bool(packet.data[packet.payload_start] & _FRAME_START) and spatial_id(packet) == 0

    def ends_frame(self, packet: RtpPacket) -> bool:
        """Whether it ends a layer frame."""
        if packet.payload_start >= packet.payload_end:
            return False
        return bool(packet.data[packet.payload_start] & _FRAME_END)

    def starts_sync_sample(self, packet: RtpPacket) -> bool:
        """Whether it starts a key frame of the lowest spatial layer."""
        if not self.starts_frame(packet) or packet.data[packet.payload_start] & _INTER_PICTURE:
            return False
        payload = packet.data[packet.payload_start : packet.payload_end]
        try:
            return starts_key_frame(payload[descriptor_bytes(payload, 0) :])
        except IndexError:
            return False

    def follows(self, last: RtpPacket, first: RtpPacket) -> bool:
        """Whether `first` starts a picture and its picture id is the next one (section 4.2)."""
        if not self.starts_frame(first):
            return False
        before, after = picture_id(last), picture_id(first)
        if before is None or after is None:
            return False
        bits = min(before[1], after[1])
        return (after[0] - before[0]) & ((1 << bits) - 1) == 1

    def assemble(self, packets: Sequence[RtpPacket]) -> Assembled:
        """The picture, with its size when it is a sync sample. Raises `RtpError` as the protocol says."""
        return self._assemble(_layer_frames(packets))

    def assemble_encrypted(self, packets: Sequence[RtpPacket], decrypt: Decrypt) -> Assembled | None:
        """The clear picture. Each layer frame is encrypted by itself."""
        layers: list[bytes] = []
        for layer in _layer_frames(packets):
            clear = decrypt(self.codec, layer)
            if clear is None:
                return None
            layers.append(clear)
        return self._assemble(layers)

    def _assemble(self, layers: list[bytes]) -> Assembled:
        if not all(map(is_frame, layers)):
            raise RtpError("a VP9 layer frame is empty or does not start with its marker; drop it")
        if len(layers) == 1:
            data = layers[0]
            frames = split_superframe(data) if starts_key_frame(data) else []
        else:
            frames = [frame for layer in layers for frame in split_superframe(layer)]
            data = build_superframe(frames)
        if not frames or not starts_key_frame(frames[0]):
            return Assembled(data, sync_sample=False)
        return Assembled(data, True, *picture_size(frames))


def _layer_frames(packets: Sequence[RtpPacket]) -> list[bytes]:
    try:
        return _join_layer_frames(packets)
    except IndexError as error:
        raise RtpError("a VP9 payload ends inside its descriptor; drop the frame") from error


def _join_layer_frames(packets: Sequence[RtpPacket]) -> list[bytes]:
    """The layer frames, each whole: from a packet that starts one to one that ends it."""
    layers: list[bytes] = []
    chunks: list[bytes] = []
    flags = _FRAME_END
    for packet in packets:
        data, start = packet.data, packet.payload_start
        ended = bool(flags & _FRAME_END)
        flags = data[start]
        if bool(flags & _FRAME_START) is not ended:
            raise RtpError("the packets are not whole VP9 layer frames; wait for a key frame")
        chunks.append(data[start + descriptor_bytes(data, start) : packet.payload_end])
        if flags & _FRAME_END:
            layers.append(chunks[0] if len(chunks) == 1 else b"".join(chunks))
            chunks = []
    if chunks:
        raise RtpError("the last VP9 layer frame has no end; wait for a key frame")
    return layers
