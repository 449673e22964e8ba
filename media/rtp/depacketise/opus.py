"""Opus over RTP (RFC 7587): each packet is a frame."""

from collections.abc import Sequence

from media.errors import RtpError
from media.frames import Codec
from media.rtp.depacketise.depacketiser import Assembled, Decrypt
from media.rtp.packet import RtpPacket

# Samples at 48 kHz of one Opus frame by TOC configuration number (RFC 6716 section 3.1, table 2).
_SILK = (480, 960, 1920, 2880)
_HYBRID = (480, 960)
_CELT = (120, 240, 480, 960)
_FRAME_SAMPLES = _SILK * 3 + _HYBRID * 2 + _CELT * 4
_MAX_PACKET_SAMPLES = 5760


def opus_duration(packet: bytes) -> int:
    """Samples at 48 kHz that an Opus packet decodes to (RFC 6716 section 3); 0 for an empty packet.

    Raises `RtpError` when the packet claims more than the 120 ms a packet may hold, or no frames.
    """
    if not packet:
        return 0
    toc = packet[0]
    code = toc & 3
    if code == 3:
        if len(packet) < 2:
            raise RtpError("an Opus packet of code 3 has a frame count byte; drop it")
        frames = packet[1] & 0x3F
    else:
        frames = 2 if code else 1
    samples = _FRAME_SAMPLES[toc >> 3] * frames
    if not 0 < samples <= _MAX_PACKET_SAMPLES:
        raise RtpError(f"an Opus packet holds up to 5760 samples, this says {samples}; drop it")
    return samples


class OpusDepacketiser:
    """Takes payloads as they are, the one- and two-byte ones of DTX too; each can start a segment."""

    codec = Codec.OPUS
    packet_is_frame = True

    def starts_frame(self, packet: RtpPacket) -> bool:
        """Always."""
        return True

    def ends_frame(self, packet: RtpPacket) -> bool:
        """Always."""
        return True

    def starts_sync_sample(self, packet: RtpPacket) -> bool:
        """Always."""
        return True

    def follows(self, last: RtpPacket, first: RtpPacket) -> bool:
        """Never provable: DTX leaves gaps in time where no packet is missing."""
        return False

    def assemble(self, packets: Sequence[RtpPacket]) -> Assembled:
        """The payload of the one packet."""
        packet = packets[0]
        return Assembled(packet.data[packet.payload_start : packet.payload_end], True)

    def assemble_encrypted(self, packets: Sequence[RtpPacket], decrypt: Decrypt) -> Assembled | None:
        """The clear packet."""
        clear = decrypt(self.codec, self.assemble(packets).data)
        return None if clear is None else Assembled(clear, True)
