"""What one second's windows of all received video say of the way here."""

from collections.abc import Mapping
from dataclasses import dataclass

from quality.stats import Direction, TrackKind, VideoQuality
from quality.window import Window

DELAY_RISE_PER_S = 0.002  # the delay of an idle link is the least seen, forgotten this slowly


@dataclass(frozen=True, slots=True)
class Evidence:
    """One second over all video subscriptions that can be judged. `delay_s` is above that of an idle link.

    `given` is the quality received of each track; `withheld` says that the server gives less than was asked for,
    `stuck` that packets come and no frames. `available_bps` is this end's estimate of the way, None where it has none.
    """

    received_bps: float
    loss_ratio: float
    delay_s: float
    idle_delay_s: float
    given: tuple[tuple[str, VideoQuality], ...]
    withheld: bool
    stuck: bool
    available_bps: float | None = None


def gather(
    windows: tuple[Window, ...], asked: Mapping[str, VideoQuality | None], idle_delay_s: float
) -> Evidence | None:
    """The evidence of `windows`, given what is asked for and the idle delay so far; None where there is none."""
    judged = [window for window in windows if _can_judge(window)]
    expected = sum(window.packets_expected for window in judged)
    if not expected:
        return None
    lost = sum(window.packets_lost for window in judged)
    delays = [window.jitter_buffer_delay_s for window in judged if window.frames > 0]
    delay = max(delays, default=idle_delay_s)
    estimates = [window.available_bandwidth_bps for window in judged if window.available_bandwidth_bps is not None]
    idle = min(delay, idle_delay_s + DELAY_RISE_PER_S)
    given = tuple(
        (window.track_sid, VideoQuality(max(0, quality - window.layer_distance)))
        for window in judged
        if (quality := asked.get(window.track_sid)) is not None
    )
    return Evidence(
        received_bps=sum(window.bitrate_bps for window in judged),
        loss_ratio=lost / expected,
        delay_s=delay - idle,
        idle_delay_s=idle,
        given=given,
        stuck=not any(window.frames for window in judged),
        withheld=any(window.layer_distance > 0 for window in judged),
        available_bps=max(estimates, default=None),
    )


def _can_judge(window: Window) -> bool:
    received = window.measured and window.kind is TrackKind.VIDEO and window.direction is Direction.INBOUND
    return received and not (window.muted or window.was_muted or window.stream_paused)
