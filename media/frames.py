"""Encoded media as it passes from RTP to disk: the values that cross the borders inside `media`."""

from dataclasses import dataclass
from enum import StrEnum


class MediaKind(StrEnum):
    """The kind of a track, as in W3C `MediaStreamTrack.kind`."""

    AUDIO = "audio"
    VIDEO = "video"


class Codec(StrEnum):
    """A codec this project can name; which of them can be recorded is the recorder's to say."""

    OPUS = "opus"
    VP8 = "vp8"
    VP9 = "vp9"
    AV1 = "av1"
    H264 = "h264"
    H265 = "h265"

    @property
    def kind(self) -> MediaKind:
        """Audio for Opus, video for all others."""
        return MediaKind.AUDIO if self is Codec.OPUS else MediaKind.VIDEO

    @property
    def clock_rate(self) -> int:
        """RTP clock rate in Hz (RFC 7587 for Opus, 90 kHz for video)."""
        return 48_000 if self is Codec.OPUS else 90_000


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """One complete access unit (video) or packet (audio), never decoded.

    `data` has the form that a container stores, and so:
    - VP8 frames and Opus packets as they are;
    - VP9: the frame, or with several spatial layers all frames of the picture as one superframe with
      its index (VP9 bitstream specification, Annex B);
    - AV1: a temporal unit in low-overhead format, each OBU with its size, without temporal delimiters,
      tile lists and padding (AV1-ISOBMFF section 2.4); a sync sample begins with its sequence header;
    - H.264 and H.265: NAL units with 4-byte big-endian lengths (ISO/IEC 14496-15), parameter sets kept
      in band; a sync sample has all that it names.

    A sync sample is one where decoding can start: a key frame, an IDR picture, in H.265 also a CRA or
    BLA picture (whose leading pictures, if any, cannot be decoded after a start there).
    `rtp_timestamp` is unwrapped: it never goes back and does not wrap at 2**32; unit 1/clock rate.
    `arrival_time` is when the first packet of the frame came, in Unix seconds of a steady clock.
    `discontinuity` says that media between the previous frame and this one is missing or that the
    sender started anew. `undecryptable_before` counts the frames right before this one that were withheld for want
    of a key. `width` and `height` are of the coded picture, of its highest spatial layer; 0 for audio and where a frame
    that is no sync sample does not carry them.
    """

    codec: Codec
    data: bytes
    rtp_timestamp: int
    arrival_time: float
    sync_sample: bool
    discontinuity: bool = False
    width: int = 0
    height: int = 0
    undecryptable_before: int = 0
