"""What H.264 and H.265 over RTP have in common: access units of NAL units, and no numbers on pictures."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from media.e2ee.frame_format import join_annex_b, split_annex_b
from media.frames import Codec
from media.rtp.depacketise.depacketiser import Assembled, Decrypt
from media.rtp.packet import RtpPacket


class NalDepacketiser(ABC):
    """Assembles access units; a codec says how packets hold units and what a sync sample needs."""

    codec: Codec
    packet_is_frame = False

    def ends_frame(self, packet: RtpPacket) -> bool:
        """Never provable: only the marker tells."""
        return False

    def follows(self, last: RtpPacket, first: RtpPacket) -> bool:
        """Never provable: neither format numbers pictures."""
        return False

    def assemble(self, packets: Sequence[RtpPacket]) -> Assembled | None:
        """The access unit; None when it holds parameter sets or messages but no slice."""
        return self._assemble(self._split(packets))

    def assemble_encrypted(self, packets: Sequence[RtpPacket], decrypt: Decrypt) -> Assembled | None:
        """The clear access unit. Slices behind the first one come out of the first one's ciphertext."""
        nals = self._split(packets)
        if not any(map(self._is_slice, nals)):
            return self._assemble(nals)
        clear = decrypt(self.codec, join_annex_b(nals))
        return None if clear is None else self._assemble(split_annex_b(clear))

    @abstractmethod
    def _split(self, packets: Sequence[RtpPacket]) -> list[bytes]:
        """The NAL units of consecutive packets. Raises `RtpError`."""

    @abstractmethod
    def _is_slice(self, nal: bytes) -> bool:
        """Whether the unit is of a picture."""

    @abstractmethod
    def _assemble(self, nals: list[bytes]) -> Assembled | None:
        """The access unit of these units; None without a slice."""
