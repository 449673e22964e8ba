"""What the jitter buffer and the inbound stream ask of a payload format."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from media.frames import Codec
from media.rtp.packet import RtpPacket

_BLANK_FRAME_SIZE = 16


class Assembled(NamedTuple):
    """A frame without its times. `width` and `height` are 0 where the frame does not carry them."""

    data: bytes
    sync_sample: bool
    width: int = 0
    height: int = 0

    @property
    def is_blank(self) -> bool:
        """Whether it is livekit-server's: it closes a video with key frames of 8x8 (VP8) or 2x2 (H.264) pixels."""
        return 0 < self.width <= _BLANK_FRAME_SIZE and 0 < self.height <= _BLANK_FRAME_SIZE


Decrypt = Callable[[Codec, bytes], bytes | None]
"""Takes a frame as its sender's encryption made it (H.264: Annex B), gives the clear one, or None."""


class Depacketiser(Protocol):
    """One payload format. Pure but for what a format lets later frames rely on (parameter sets)."""

    @property
    def codec(self) -> Codec:
        """The codec of all frames that come out."""

    @property
    def packet_is_frame(self) -> bool:
        """Whether each packet is a whole frame, whatever its marker says (audio)."""

    def starts_frame(self, packet: RtpPacket) -> bool:
        """Whether the packet itself proves that no earlier packet belongs to its frame.

        False where it proves nothing; the packet before it, when it is there, tells then.
        """

    def ends_frame(self, packet: RtpPacket) -> bool:
        """Whether the packet itself proves that it is the last of its frame or of a layer of it.

        A server that leaves out the layers above may leave out the marker with them.
        """

    def starts_sync_sample(self, packet: RtpPacket) -> bool:
        """Whether the packet is the first of a sync sample, as far as it shows."""

    def follows(self, last: RtpPacket, first: RtpPacket) -> bool:
        """Whether the packets prove that no frame lies between the frame that ends with `last` and `first`.

        Then missing sequence numbers between them were padding, which is never retransmitted.
        """

    def assemble(self, packets: Sequence[RtpPacket]) -> Assembled | None:
        """The frame that all these packets make, in order; None when they carry no picture.

        Raises `RtpError` when the payloads contradict the format or a part of the frame is missing.
        """

    def assemble_encrypted(self, packets: Sequence[RtpPacket], decrypt: Decrypt) -> Assembled | None:
        """As `assemble`, of a track with end-to-end encryption; None too when `decrypt` gives nothing.

        All that the payloads' own headers do not tell is looked at in the clear frame only.
        """
