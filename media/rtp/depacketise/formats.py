"""The payload formats negotiated for a track, by payload type."""

from collections.abc import Mapping, Sequence

from media.errors import RtpError
from media.frames import Codec
from media.rtp.depacketise.av1 import Av1Depacketiser
from media.rtp.depacketise.depacketiser import Assembled, Decrypt, Depacketiser
from media.rtp.depacketise.h264 import H264Depacketiser
from media.rtp.depacketise.h265 import H265Depacketiser
from media.rtp.depacketise.opus import OpusDepacketiser
from media.rtp.depacketise.vp8 import Vp8Depacketiser
from media.rtp.depacketise.vp9 import Vp9Depacketiser
from media.rtp.packet import RtpPacket


class PayloadFormats:
    """Asks the payload format that a packet names. Packets of other payload types must not come here."""

    def __init__(
        self,
        codecs: Mapping[int, Codec],
        parameter_sets: tuple[bytes, ...] = (),
        dependency_descriptor_id: int | None = None,
    ) -> None:
        """`parameter_sets` and `dependency_descriptor_id` are those of `InboundStreamConfig`."""
        self._formats = {
            payload_type: depacketiser_for(codec, parameter_sets, dependency_descriptor_id)
            for payload_type, codec in codecs.items()
        }

    def __contains__(self, payload_type: int) -> bool:
        return payload_type in self._formats

    def codec(self, packet: RtpPacket) -> Codec:
        """The codec of a packet."""
        return self._formats[packet.payload_type].codec

    def starts_frame(self, packet: RtpPacket) -> bool:
        """As `Depacketiser.starts_frame`."""
        return self._formats[packet.payload_type].starts_frame(packet)

    def ends_frame(self, packet: RtpPacket) -> bool:
        """As `Depacketiser.ends_frame`."""
        return self._formats[packet.payload_type].ends_frame(packet)

    def starts_sync_sample(self, packet: RtpPacket) -> bool:
        """As `Depacketiser.starts_sync_sample`."""
        return self._formats[packet.payload_type].starts_sync_sample(packet)

    def follows(self, last: RtpPacket, first: RtpPacket) -> bool:
        """As `Depacketiser.follows`; false between payload types."""
        if last.payload_type != first.payload_type:
            return False
        return self._formats[first.payload_type].follows(last, first)

    def assemble(self, packets: Sequence[RtpPacket]) -> Assembled | None:
        """As `Depacketiser.assemble`."""
        return self._format_of(packets).assemble(packets)

    def assemble_encrypted(self, packets: Sequence[RtpPacket], decrypt: Decrypt) -> Assembled | None:
        """As `Depacketiser.assemble_encrypted`."""
        return self._format_of(packets).assemble_encrypted(packets, decrypt)

    def _format_of(self, packets: Sequence[RtpPacket]) -> Depacketiser:
        payload_type = packets[0].payload_type
        if payload_type != packets[-1].payload_type:
            raise RtpError("the packets of a frame have one payload type; wait for a key frame")
        return self._formats[payload_type]


def depacketiser_for(
    codec: Codec, parameter_sets: tuple[bytes, ...] = (), dependency_descriptor_id: int | None = None
) -> Depacketiser:
    """A depacketiser of its own; `parameter_sets` are H.264 NAL units, `dependency_descriptor_id` is for AV1."""
    match codec:
        case Codec.VP8:
            return Vp8Depacketiser()
        case Codec.VP9:
            return Vp9Depacketiser()
        case Codec.AV1:
            return Av1Depacketiser(dependency_descriptor_id)
        case Codec.H264:
            return H264Depacketiser(parameter_sets)
        case Codec.H265:
            return H265Depacketiser()
        case Codec.OPUS:
            return OpusDepacketiser()
