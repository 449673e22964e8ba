"""HLS playlists as text (RFC 8216 and draft-pantos-hls-rfc8216bis for names; pure)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

# EXT-X-MAP without I-frames only needs 6, EXT-X-INDEPENDENT-SEGMENTS 6; 7 is what fMP4 playlists declare.
VERSION = 7


@dataclass(frozen=True, slots=True)
class MediaSegment:
    """One segment of a media playlist. `map_uri` is its init segment. `program_date_time`: Unix seconds."""

    uri: str
    duration_s: float
    map_uri: str
    discontinuity: bool = False
    program_date_time: float | None = None


@dataclass(frozen=True, slots=True)
class MediaPlaylist:
    """A complete (VOD) media playlist."""

    segments: tuple[MediaSegment, ...]
    media_sequence: int = 0

    @property
    def target_duration(self) -> int:
        """EXT-X-TARGETDURATION: no EXTINF, rounded to the nearest whole second, exceeds it (RFC 8216 4.3.3.1)."""
        return max((math.floor(segment.duration_s + 0.5) for segment in self.segments), default=1) or 1

    def render(self) -> str:
        """The playlist's text."""
        lines = [
            "#EXTM3U",
            f"#EXT-X-VERSION:{VERSION}",
            f"#EXT-X-TARGETDURATION:{self.target_duration}",
            f"#EXT-X-MEDIA-SEQUENCE:{self.media_sequence}",
            "#EXT-X-PLAYLIST-TYPE:VOD",
            "#EXT-X-INDEPENDENT-SEGMENTS",
        ]
        map_uri = None
        for segment in self.segments:
            if segment.discontinuity:
                lines.append("#EXT-X-DISCONTINUITY")
            if segment.map_uri != map_uri:
                map_uri = segment.map_uri
                lines.append(f"#EXT-X-MAP:URI={quoted(map_uri)}")
            if segment.program_date_time is not None:
                lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{date_time(segment.program_date_time)}")
            lines += [f"#EXTINF:{segment.duration_s:.6f},", segment.uri]
        return "\n".join([*lines, "#EXT-X-ENDLIST", ""])


@dataclass(frozen=True, slots=True)
class AudioRendition:
    """An EXT-X-MEDIA of TYPE=AUDIO."""

    uri: str
    name: str
    group_id: str = "audio"
    channels: int = 2


@dataclass(frozen=True, slots=True)
class Variant:
    """An EXT-X-STREAM-INF. Bandwidths in bits per second, audio included; sizes 0 for audio alone."""

    uri: str
    bandwidth_bps: int
    average_bandwidth_bps: int
    codecs: tuple[str, ...]
    width: int = 0
    height: int = 0
    frame_rate: float = 0.0
    audio_group: str = ""


@dataclass(frozen=True, slots=True)
class MultivariantPlaylist:
    """The playlist that a player opens first."""

    variants: tuple[Variant, ...]
    audio: tuple[AudioRendition, ...] = ()

    def render(self) -> str:
        """The playlist's text."""
        lines = ["#EXTM3U", f"#EXT-X-VERSION:{VERSION}", "#EXT-X-INDEPENDENT-SEGMENTS"]
        lines += [_media_line(rendition) for rendition in self.audio]
        for variant in self.variants:
            lines += [_stream_inf_line(variant), variant.uri]
        return "\n".join([*lines, ""])


def peak_bandwidth_bps(sizes_bytes: Sequence[int], durations_s: Sequence[float], target_duration_s: float) -> int:
    """The largest bit rate of any run of segments that lasts 0.5 to 1.5 target durations (RFC 8216 4.1).

    A segment that is longer or shorter than any such run counts by itself, over half a target duration at least.
    """
    peak = 0.0
    for first in range(len(sizes_bytes)):
        total_bytes, total_s = 0, 0.0
        for size_bytes, duration_s in zip(sizes_bytes[first:], durations_s[first:], strict=True):
            total_bytes += size_bytes
            total_s += duration_s
            if total_s >= 0.5 * target_duration_s:
                peak = max(peak, 8 * total_bytes / total_s)
                break
        else:
            peak = max(peak, 8 * total_bytes / max(total_s, 0.5 * target_duration_s))
    return math.ceil(peak)


def _media_line(rendition: AudioRendition) -> str:
    return (
        f"#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID={quoted(rendition.group_id)},NAME={quoted(rendition.name)},"
        f'DEFAULT=YES,AUTOSELECT=YES,CHANNELS="{rendition.channels}",URI={quoted(rendition.uri)}'
    )


def _stream_inf_line(variant: Variant) -> str:
    attributes = [
        f"BANDWIDTH={variant.bandwidth_bps}",
        f"AVERAGE-BANDWIDTH={variant.average_bandwidth_bps}",
        f"CODECS={quoted(','.join(variant.codecs))}",
    ]
    if variant.width:
        attributes.append(f"RESOLUTION={variant.width}x{variant.height}")
    if variant.frame_rate:
        attributes.append(f"FRAME-RATE={variant.frame_rate:.3f}")
    if variant.audio_group:
        attributes.append(f"AUDIO={quoted(variant.audio_group)}")
    return "#EXT-X-STREAM-INF:" + ",".join(attributes)


def quoted(text: str) -> str:
    """A quoted-string (RFC 8216 4.2), which cannot hold quotes or line breaks."""
    if any(character in text for character in '"\r\n'):
        raise ValueError(f"{text!r} cannot be written in a playlist")
    return f'"{text}"'


def date_time(unix_s: float) -> str:
    """EXT-X-PROGRAM-DATE-TIME's form of Unix seconds (RFC 8216 4.3.2.6)."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
