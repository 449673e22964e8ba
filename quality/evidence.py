"""What one second's windows of all received video say: what is seen, what is withheld, what is in trouble."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from quality.allocation import Layer, Subscription, priority, utility
from quality.stats import Direction, TrackKind, TrackSource, VideoQuality
from quality.trains import Train, total, train
from quality.window import Window

BAD_LOSS_RATIO = 0.06  # the server calls video with more than 6% lost POOR
STARVED_FPS_RATIO = 0.7  # of a layer's usual frame rate: a temporal layer is missing, which halves it
LEAST_FPS_RATIO = 0.2  # of three temporal layers the lowest has a quarter of the frames; fewer are the publisher's
FELL_RATIO = 0.95  # of the estimate a second before
LIMITED_RATIO = 1.4  # of what comes: an estimate of less may be all that there is; libwebrtc's goes to 1.5 at most
USUAL_FPS_FALL = 0.98  # a second: a publisher's lower rate is taken for usual after 18 s (0.98^18 = 0.7)
CONFIRMED_FPS_RATIO = 0.85  # of what is taken for usual, and more: it was seen, not just announced
FRAMES_BITS = 0.7  # half of the frames take 0.6 of the bits, a quarter 0.4
USUAL_FPS_RISE = 0.3  # a burst after a stall must not raise what is usual in one second


@dataclass(frozen=True, slots=True)
class LayerRate:
    """What a track's layer takes, as measured: bits and frames per second, 0 where it was not seen yet.

    `confirmed` is whether so many frames were seen, and not just announced.
    """

    bps: float = 0.0
    fps: float = 0.0
    confirmed: bool = False


Rates = Mapping[tuple[str, VideoQuality], LayerRate]


@dataclass(frozen=True, slots=True)
class Seen:
    """A received video in one second.

    `worth` is its `utility` by `weight`, which says how much it matters now. `below`: the server gives a lower layer
    than was asked for; `starved`: not all frames of the layer that it gives. `trouble` is in words, and empty where
    there is none; `broken`: its picture stood still or did not come, which loss alone need not do; `frozen` is for how
    much of the second it stood. `short`: far fewer frames than were announced, which may be its publisher's doing.
    """

    track_sid: str
    quality: VideoQuality
    utility: float
    weight: float
    received_bps: float
    fps: float
    usual_fps: float
    below: bool
    starved: bool
    trouble: str
    broken: bool = False
    frozen: float = 0.0
    short: bool = False

    @property
    def worth(self) -> float:
        """Its weighted utility."""
        return self.weight * self.utility

    @property
    def withheld(self) -> bool:
        """Whether the server gives less than was asked for."""
        return self.below or self.starved


@dataclass(frozen=True, slots=True)
class Evidence:
    """One second of all videos that can be judged.

    `available_bps` is this end's estimate of the way, `round_trip_s` the time there and back; None where not measured.
    `is_measured_anew`: that time is not the one of the second before, as most are (the SDK measures it every 2 s).
    `trains` are what the spacing of packets says of it, one for each video; `lost_ratio` is the share of all packets
    that did not come.
    """

    tracks: tuple[Seen, ...]
    available_bps: float | None
    round_trip_s: float | None
    trains: tuple[Train, ...] = ()
    lost_ratio: float = 0.0
    is_measured_anew: bool = True

    @property
    def train(self) -> Train:
        """Those of all videos."""
        return total(self.trains)

    @property
    def sids(self) -> frozenset[str]:
        """The tracks that could be judged."""
        return frozenset(item.track_sid for item in self.tracks)

    @property
    def worth(self) -> float:
        """What is seen, in weighted utility."""
        return sum(item.worth for item in self.tracks)

    def worth_of(self, weights: Mapping[str, float]) -> float:
        """What is seen of the tracks of `weights`, by those."""
        return sum(weights[item.track_sid] * item.utility for item in self.tracks if item.track_sid in weights)

    @property
    def received_bps(self) -> float:
        """All that came."""
        return sum(item.received_bps for item in self.tracks)

    @property
    def trouble(self) -> str:
        """What is wrong with the first track that something is wrong with."""
        return next((item.trouble for item in self.tracks if item.trouble), "")

    @property
    def broken(self) -> bool:
        """Whether a picture stood still or did not come."""
        return any(item.broken for item in self.tracks)

    @property
    def below(self) -> bool:
        """Whether the server gives a lower layer than was asked for."""
        return any(item.below for item in self.tracks)

    @property
    def withheld(self) -> bool:
        """Whether the server gives less than was asked for."""
        return any(item.withheld for item in self.tracks)

    @property
    def limited(self) -> bool:
        """Whether this end's estimate says that not much more would come through; so too where it has none."""
        return self.available_bps is None or self.available_bps < LIMITED_RATIO * self.received_bps

    def estimate_fell(self, before: "Evidence | None") -> bool:
        """Whether this end's estimate is lower than it was in the second before."""
        if before is None or before.available_bps is None or self.available_bps is None:
            return False
        return self.available_bps < FELL_RATIO * before.available_bps


def gather(
    subscriptions: tuple[Subscription, ...],
    windows: tuple[Window, ...],
    asked: Mapping[str, VideoQuality | None],
    rates: Rates,
    before: Evidence | None = None,
) -> Evidence:
    """The evidence of `windows`, and of the second `before`.

    Nothing is said of what is muted, paused, disabled, unknown or not measured.
    """
    known = {item.track_sid: item for item in subscriptions}
    judged = [window for window in windows if _can_judge(window) and window.track_sid in known]
    estimates = [window.available_bandwidth_bps for window in judged if window.available_bandwidth_bps is not None]
    tracks = tuple(
        _seen(known[window.track_sid], window, quality, rates)
        for window in judged
        if (quality := asked.get(window.track_sid)) is not None
    )
    round_trips = [window.round_trip_time_s for window in judged if window.round_trip_time_s is not None]
    trains = tuple(train(window) for window in judged)
    expected = sum(window.packets_expected for window in judged)
    lost_ratio = sum(window.packets_lost for window in judged) / expected if expected else 0.0
    round_trip_s = max(round_trips, default=None)
    anew = before is None or round_trip_s != before.round_trip_s
    return Evidence(tracks, max(estimates, default=None), round_trip_s, trains, lost_ratio, anew)


def learned(rates: Rates, before: Evidence | None, evidence: Evidence) -> dict[tuple[str, VideoQuality], LayerRate]:
    """`rates` with a second more, of layers that were there before as well.

    Where temporal layers are missing the bits of all are inferred from those that come. What is usual is forgotten as
    fewer frames come, but for what was seen while this end's estimate says that the server may withhold the others.
    """
    steady = {(item.track_sid, item.quality) for item in before.tracks} if before else set()
    known_bps = evidence.available_bps
    limited = known_bps is not None and known_bps < LIMITED_RATIO * evidence.received_bps
    found = {
        key: rate if limited and rate.confirmed else replace(rate, fps=rate.fps * USUAL_FPS_FALL)
        for key, rate in rates.items()
    }
    for item in evidence.tracks:
        key = item.track_sid, item.quality
        if key not in steady or item.trouble:
            continue
        rate = found.get(key, LayerRate(fps=item.usual_fps))
        fps = max(rate.fps, rate.fps + USUAL_FPS_RISE * (item.fps - rate.fps))
        bps = rate.bps
        if item.fps >= LEAST_FPS_RATIO * fps and item.fps > 0:
            starved = item.fps < STARVED_FPS_RATIO * fps
            whole = item.received_bps * ((fps / item.fps) ** FRAMES_BITS if starved else 1.0)
            bps += (whole - bps) * (USUAL_FPS_RISE if bps else 1.0)
        found[key] = LayerRate(bps, fps, rate.confirmed or item.fps >= CONFIRMED_FPS_RATIO * fps)
    return found


def _can_judge(window: Window) -> bool:
    received = window.measured and window.kind is TrackKind.VIDEO and window.direction is Direction.INBOUND
    there = received and window.packets_expected > 0
    return there and not window.rests


def _seen(item: Subscription, window: Window, asked: VideoQuality, rates: Rates) -> Seen:
    quality = VideoQuality(max(0, asked - window.layer_distance))
    announced_fps = next((layer.fps for layer in item.layers if layer.quality is quality), 0.0)
    usual_fps = rates.get((item.track_sid, quality), LayerRate(fps=announced_fps)).fps
    if window.requested_fps is not None:
        usual_fps = min(usual_fps, window.requested_fps)
    moves = window.source is not TrackSource.SCREEN_SHARE
    broken = _broken(window) if moves else ""
    shown = Layer(quality, window.frame_width, window.frame_height, window.fps, window.bitrate_bps)
    return Seen(
        item.track_sid,
        quality,
        utility(shown, item) if window.frames else 0.0,
        priority(item),
        window.bitrate_bps,
        window.fps,
        usual_fps,
        below=window.layer_distance > 0,
        starved=moves and window.fps < STARVED_FPS_RATIO * usual_fps,
        trouble=broken or _lost(window),
        broken=bool(broken),
        frozen=min(1.0, window.freeze_s / window.duration_s) if moves and window.duration_s > 0 else 0.0,
        short=moves and window.fps < STARVED_FPS_RATIO * announced_fps,
    )


def _broken(window: Window) -> str:
    """What is wrong with a picture that is to move."""
    if window.frames == 0:
        return f"packets arrive, but no complete frame, {window.loss_ratio:.0%} lost"
    if window.freeze_count > 0:
        return f"video froze for {window.freeze_s:.1f} s"
    return ""


def _lost(window: Window) -> str:
    return f"{window.loss_ratio:.0%} of packets lost" if window.loss_ratio > BAD_LOSS_RATIO else ""
