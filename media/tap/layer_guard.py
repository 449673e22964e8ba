"""Whole frame rate before large picture: a lower layer where the server thins a video's frames. Pure.

On a way too narrow for the layer asked for, livekit-server keeps the largest picture of which a few
frames a second fit: 720p at 6 frames/s where 360p at 25 would. A recording wants the latter, and only a
lower layer asked for gets it. docs/decisions/0010-bandwidth-feedback.md has the figures.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from media.tap.events import LayerQuality

SAMPLE_S = 1.0
THIN_RATIO = 0.6
THIN_SAMPLES = 2
USUAL_FPS_RISE = 0.3  # of what two samples in a row reached: one alone may be a burst after a stall
USUAL_FPS_FALL = 0.98  # per second: a camera that slows down in the dark is usual after 25 s
SETTLE_S = 3.0  # a switch takes 0.3 to 1.3 s, the jitter buffer's wait for lost frames up to 2 s
FIRST_TRIAL_S = 5.0
MAX_TRIAL_S = 60.0
FAILED_TRIAL_S = 8.0  # a higher layer that overloads the way does so within this time
PROVEN_TRIAL_S = 15.0
LIMITED_FOR_S = 30.0  # on a narrow way the estimate grows and falls again within that; a wide one is soon forgiven


@dataclass(slots=True)
class _Guarded:
    """One video. `ceiling` is what the guard allows; `usual_fps` what each layer has: lower ones often have less.

    `max_fps` is what was asked for at most, infinite where nothing was.
    """

    ceiling: LayerQuality
    frames: int
    sampled_at: float
    quiet_until: float
    usual_fps: dict[LayerQuality, float] = field(default_factory=dict)
    last_fps: float = 0.0
    thin_samples: int = 0
    raised_at: float | None = None
    trial_after_s: float = FIRST_TRIAL_S
    trial_at: float = 0.0
    asked: LayerQuality = LayerQuality.HIGH
    max_fps: float = math.inf


_UNLIMITED: Mapping[str, int] = MappingProxyType({})


class LayerGuard:
    """`step` a few times a second; it says which layers to ask for from now on.

    It never asks for more than is wanted, lowers only while the way is known to be limited, and tries
    the higher layer again after 5 s, twice as long after each trial that failed, up to a minute.
    """

    def __init__(self) -> None:
        self._videos: dict[str, _Guarded] = {}
        self._decreases = 0
        self._decreased_at = float("-inf")

    def ceiling(self, track_sid: str) -> LayerQuality:
        """What the guard allows a track now."""
        video = self._videos.get(track_sid)
        return video.ceiling if video else LayerQuality.HIGH

    def step(
        self,
        now: float,
        frames: Mapping[str, int],
        wanted: Mapping[str, LayerQuality],
        *,
        decreases: int,
        max_fps: Mapping[str, int] = _UNLIMITED,
    ) -> dict[str, LayerQuality]:
        """New layers by track SID. `frames`: received so far; `decreases`: how often the estimate fell so far.

        `max_fps`: frame rates that were asked for at most; to have no more than that is usual.
        """
        overloaded = decreases > self._decreases
        self._decreases = decreases
        if overloaded:
            self._decreased_at = now
        limited = now - self._decreased_at <= LIMITED_FOR_S
        for gone in self._videos.keys() - frames.keys():
            del self._videos[gone]
        changes = {}
        for track_sid, count in frames.items():
            video = self._videos.get(track_sid)
            asked = wanted.get(track_sid, LayerQuality.HIGH)
            if video is None:
                video = _Guarded(LayerQuality.HIGH, count, now, now + SETTLE_S, asked=asked)
                self._videos[track_sid] = video
                continue
            video.max_fps = max_fps.get(track_sid, math.inf)
            if self._moved(video, count, asked, now, overloaded=overloaded, limited=limited):
                changes[track_sid] = min(asked, video.ceiling)
        return changes

    def _moved(
        self, video: _Guarded, count: int, asked: LayerQuality, now: float, *, overloaded: bool, limited: bool
    ) -> bool:
        if asked is not video.asked:
            video.asked, video.thin_samples, video.last_fps = asked, 0, 0.0
            video.frames, video.sampled_at, video.quiet_until = count, now, now + SETTLE_S
        if video.raised_at is not None and now - video.raised_at > PROVEN_TRIAL_S:
            video.raised_at, video.trial_after_s = None, FIRST_TRIAL_S
        if overloaded and video.raised_at is not None and now - video.raised_at < FAILED_TRIAL_S:
            return self._lower(video, asked, now)
        thin = self._sample(video, count, now)
        if now < video.quiet_until:
            return False
        if limited and thin >= THIN_SAMPLES:
            return self._lower(video, asked, now)
        if video.ceiling < asked and now >= video.trial_at and not thin and video.last_fps > 0:
            video.ceiling = LayerQuality(video.ceiling + 1)
            video.raised_at, video.quiet_until, video.trial_at = now, now + SETTLE_S, now + FAILED_TRIAL_S
            return True
        return False

    def _lower(self, video: _Guarded, asked: LayerQuality, now: float) -> bool:
        current = min(asked, video.ceiling)
        if current is LayerQuality.LOW:
            return False
        if video.raised_at is not None and now - video.raised_at < FAILED_TRIAL_S:
            video.trial_after_s = min(MAX_TRIAL_S, 2 * video.trial_after_s)
        video.ceiling = LayerQuality(current - 1)
        video.raised_at, video.thin_samples = None, 0
        video.quiet_until, video.trial_at = now + SETTLE_S, now + video.trial_after_s
        return True

    def _sample(self, video: _Guarded, count: int, now: float) -> int:
        """How many samples in a row the frame rate was too low; a sample is taken once in `SAMPLE_S`."""
        elapsed = now - video.sampled_at
        if elapsed < SAMPLE_S:
            return video.thin_samples
        fps = (count - video.frames) / elapsed
        steady, video.last_fps = min(fps, video.last_fps), fps
        video.frames, video.sampled_at = count, now
        if now < video.quiet_until:
            # What comes before a switch has settled is of two layers, and tells what neither usually has.
            video.thin_samples, video.last_fps = 0, 0.0
            return 0
        layer = min(video.asked, video.ceiling)
        usual = min(video.usual_fps.get(layer, 0.0), video.max_fps)
        thin = 0 < fps < THIN_RATIO * usual
        video.thin_samples = video.thin_samples + 1 if thin else 0
        rise = steady if usual == 0 else usual + USUAL_FPS_RISE * (steady - usual)
        video.usual_fps[layer] = max(rise, usual) * USUAL_FPS_FALL**elapsed
        return video.thin_samples
