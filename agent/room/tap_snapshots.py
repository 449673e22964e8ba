"""The tap's statistics as the quality package's snapshots, one a subscribed track."""

from collections.abc import Callable

from agent.room.tap_values import tap_inbound_rtp, track_source, video_layers, video_quality
from media.frames import MediaKind
from media.tap.tap import Tap
from quality.content import ContentCounts
from quality.stats import TrackKind, TrackSnapshot

Heard = Callable[[str], ContentCounts | None]
"""What was heard, by SID, of the tracks that somebody listens to."""


def tap_snapshots(
    tap: Tap, is_stream_paused: Callable[[str], bool], heard: Heard, now: float
) -> tuple[TrackSnapshot, ...]:
    """What is received of each track now; `is_stream_paused` knows, by SID, which of them the server withholds."""
    found = ((stats, tap.find_track(sid)) for sid, stats in tap.stats().items() if sid in tap.subscribed)
    return tuple(
        TrackSnapshot(
            track_sid=item[1].sid,
            kind=TrackKind(item[1].kind.value),
            source=track_source(item[1]),
            timestamp=now,
            stats=tap_inbound_rtp(stats, item[1]),
            muted=item[1].muted,
            stream_paused=is_stream_paused(item[1].sid),
            requested_quality=video_quality(tap.quality(item[1].sid)) if item[1].kind is MediaKind.VIDEO else None,
            requested_fps=tap.max_fps(item[1].sid),
            layers=video_layers(item[1]),
            available_bandwidth_bps=tap.bandwidth_estimate_bps,
            content=heard(item[1].sid),
        )
        for stats, item in found
        if item is not None
    )
