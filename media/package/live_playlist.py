"""Playlists of a recording that goes on (RFC 8216; low latency: draft-pantos-hls-rfc8216bis, 4.4 and 6.2; pure)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from media.package.hls import date_time, quoted

VERSION = 9

_PARTS_WITHIN_TARGETS = 3
"""Parts are listed as far back as the draft asks for (6.2.2): three target durations."""

_HOLD_BACK_PARTS = 3
"""The draft's recommended distance from the end, in part targets (4.4.3.8)."""

MAX_AHEAD = 2
"""A request for a segment further ahead than this is a mistake (6.2.5.2)."""


@dataclass(frozen=True, slots=True)
class LivePart:
    """A part: `size_bytes` from `start` on of its segment's file. A `gap` has no media and no bytes."""

    duration_s: float
    start: int = 0
    size_bytes: int = 0
    independent: bool = False
    gap: bool = False


@dataclass(frozen=True, slots=True)
class LiveSegment:
    """A segment of a track on the recording's media timeline, or a `gap` where the track has no media.

    `start_s` is media time. While it is not `complete`, `duration_s` is that of its parts so far. `discontinuities`:
    how often the writer of the recording started anew since the segment before; `discontinuity_sequence` counts
    all of them, as it must be the same in all renditions (RFC 8216 6.2.4).
    """

    uri: str
    map_uri: str
    start_s: float
    duration_s: float
    size_bytes: int = 0
    samples: int = 0
    parts: tuple[LivePart, ...] = ()
    discontinuity_sequence: int = 0
    discontinuities: int = 0
    complete: bool = True
    independent: bool = True
    gap: bool = False

    @property
    def end_s(self) -> float:
        """Media time of its end."""
        return self.start_s + self.duration_s


@dataclass(frozen=True, slots=True)
class PartHint:
    """Where the next part will be: in the file `uri`, from byte `start` on."""

    uri: str
    start: int = 0


@dataclass(frozen=True, slots=True)
class PlaylistOptions:
    """How a track is told. `window_s` None: from its start on, else a sliding window of so many seconds.

    `query` goes behind each URI. `started_at`: Unix seconds of media time zero.
    """

    target_duration_s: int
    part_target_s: float
    started_at: float
    window_s: float | None = 60.0
    query: str = ""


@dataclass(frozen=True, slots=True)
class LivePlaylist:
    """The media playlist of one track. Only its last segment may be incomplete; `ended`: there will be no more.

    `hint` is told as a preload hint. Besides the round trip that it saves, hls.js 1.7 needs one behind a whole segment:
    without it, it takes that segment for the one that is being written, and loses parts.
    """

    segments: tuple[LiveSegment, ...]
    ended: bool = False
    hint: PartHint | None = None

    def over(self) -> "LivePlaylist":
        """The playlist where nothing more comes: what there is of its last segment is the last segment."""
        segments = tuple(replace(segment, complete=True) for segment in self.segments)
        return LivePlaylist(segments, ended=True)

    def contains(self, media_sequence: int, part: int | None) -> bool:
        """Whether it has that segment, whole, or as far as that part (draft 6.2.5.2)."""
        if media_sequence < self._whole:
            return True
        if part is None or media_sequence > self._whole or self._whole == len(self.segments):
            return False
        return part < len(self.segments[media_sequence].parts)

    def is_ahead(self, media_sequence: int) -> bool:
        """Whether a client that waits for that segment has lost its way."""
        return media_sequence > len(self.segments) + MAX_AHEAD

    @property
    def _whole(self) -> int:
        """How many segments are whole."""
        return len(self.segments) - bool(self.segments and not self.segments[-1].complete)

    def render(self, options: PlaylistOptions) -> str:
        """The playlist's text."""
        first = self._first(options.window_s)
        listed = self.segments[first:]
        target_s = self._target_duration_s(options)
        lines = ["#EXTM3U", f"#EXT-X-VERSION:{VERSION}", f"#EXT-X-TARGETDURATION:{target_s}"]
        if not self.ended:
            hold_back_s = _HOLD_BACK_PARTS * options.part_target_s
            lines += [
                f"#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={hold_back_s:.3f}",
                f"#EXT-X-PART-INF:PART-TARGET={options.part_target_s:.3f}",
            ]
        lines.append(f"#EXT-X-MEDIA-SEQUENCE:{first}")
        if listed:
            sequence = listed[0].discontinuity_sequence - listed[0].discontinuities
            lines.append(f"#EXT-X-DISCONTINUITY-SEQUENCE:{sequence}")
        if options.window_s is None:
            lines.append("#EXT-X-PLAYLIST-TYPE:EVENT")
        if all(segment.independent for segment in listed):
            lines.append("#EXT-X-INDEPENDENT-SEGMENTS")
        lines += self._segment_lines(listed, options, target_s)
        if self.hint is not None and not self.ended:
            uri = quoted(self.hint.uri + options.query)
            lines.append(f"#EXT-X-PRELOAD-HINT:TYPE=PART,URI={uri},BYTERANGE-START={self.hint.start}")
        return "\n".join([*lines, *(["#EXT-X-ENDLIST"] if self.ended else []), ""])

    def _first(self, window_s: float | None) -> int:
        """The index of the first segment listed."""
        if window_s is None or not self.segments:
            return 0
        left_s, index = window_s, len(self.segments)
        while index > 0 and left_s > 0:
            index -= 1
            left_s -= self.segments[index].duration_s
        return index

    def _target_duration_s(self, options: PlaylistOptions) -> int:
        """No rounded EXTINF may exceed it (RFC 8216 4.3.3.1), also where a sender gave no sync sample for long."""
        longest_s = max((segment.duration_s for segment in self.segments), default=0.0)
        return max(options.target_duration_s, math.floor(longest_s + 0.5))

    def _segment_lines(self, listed: tuple[LiveSegment, ...], options: PlaylistOptions, target_s: int) -> Iterator[str]:
        parts_from_s = listed[-1].end_s - _PARTS_WITHIN_TARGETS * target_s if listed and not self.ended else math.inf
        map_uri = None
        for segment in listed:
            yield from ["#EXT-X-DISCONTINUITY"] * segment.discontinuities
            if segment.map_uri != map_uri and not segment.gap:
                map_uri = segment.map_uri
                yield f"#EXT-X-MAP:URI={quoted(map_uri + options.query)}"
            yield f"#EXT-X-PROGRAM-DATE-TIME:{date_time(options.started_at + segment.start_s)}"
            if segment.end_s > parts_from_s or not segment.complete:
                yield from (_part_line(part, segment.uri + options.query) for part in segment.parts)
            if segment.gap:
                yield "#EXT-X-GAP"
            if segment.complete:
                yield f"#EXTINF:{segment.duration_s:.6f},"
                yield segment.uri + options.query


def _part_line(part: LivePart, uri: str) -> str:
    attributes = [f"DURATION={part.duration_s:.6f}", f"URI={quoted(uri)}"]
    if part.gap:
        attributes.append("GAP=YES")
    else:
        attributes.append(f'BYTERANGE="{part.size_bytes}@{part.start}"')
    if part.independent:
        attributes.append("INDEPENDENT=YES")
    return "#EXT-X-PART:" + ",".join(attributes)
