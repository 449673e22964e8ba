"""What was negotiated for one received track."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from media.errors import UnsupportedCodec
from media.frames import Codec, MediaKind
from media.rtp.jitter_buffer import JitterBufferConfig
from media.rtp.nack import NackConfig


@dataclass(frozen=True, slots=True)
class InboundStreamConfig:
    """What was negotiated for one track.

    `codecs`: payload type to codec, all of one kind. `rtx`: RTX payload type to the payload type it
    repeats (apt). `red`: RED payload type (RFC 2198) to that of the primary in it. `nack`: whether the
    server answers NACKs; where it does not, a hole waits for reordered packets and redundancy only,
    `jitter_buffer.start_wait_s` long. `abs_capture_time_id` and `dependency_descriptor_id` (used for
    AV1): ids of those header extensions. `parameter_sets`: H.264 NAL units from the SDP.
    `drop_blank_frames`: the server closes a video track with tiny key frames, which no recording wants.
    """

    codecs: Mapping[int, Codec]
    rtx: Mapping[int, int] = field(default_factory=dict)
    red: Mapping[int, int] = field(default_factory=dict)
    nack: bool = True
    abs_capture_time_id: int | None = None
    dependency_descriptor_id: int | None = None
    parameter_sets: tuple[bytes, ...] = ()
    drop_blank_frames: bool = True
    jitter_buffer: JitterBufferConfig = field(default_factory=JitterBufferConfig)
    nack_timing: NackConfig = field(default_factory=NackConfig)

    def __post_init__(self) -> None:
        """Raises `UnsupportedCodec` when there is no codec or when audio and video mix."""
        if len({codec.kind for codec in self.codecs.values()}) != 1:
            raise UnsupportedCodec("a track needs codecs of one kind, audio or video; offer those only")

    @property
    def kind(self) -> MediaKind:
        """The kind of all codecs."""
        return next(iter(self.codecs.values())).kind

    @property
    def clock_rate(self) -> int:
        """The RTP clock rate in Hz."""
        return next(iter(self.codecs.values())).clock_rate

    @property
    def hole_bounds(self) -> JitterBufferConfig:
        """The jitter buffer's bounds: without NACK nothing is sent again, so nothing is waited for."""
        bounds = self.jitter_buffer
        return bounds if self.nack else replace(bounds, max_wait_s=bounds.start_wait_s)
