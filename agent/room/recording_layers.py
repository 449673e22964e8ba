"""Which simulcast layer of each recorded video to take: by name, or within a budget over all of them (pure).

As in Jitsi's allocation: prioritise, constrain, allocate, and change only what must. Every video gets its lowest layer.
What is left of the budget raises screen shares first, then participants in focus, then the others; within a
group all are raised by one layer before one is raised by two. A video that measures too much goes down at
once; it goes up again when there is room to spare, and not before the last change has settled.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from agent.room.recording_plan import LayerPolicy
from quality.stats import TrackSource, VideoQuality

RAISE_AFTER_S = 10.0  # the server needs up to this to count a layer as alive again
RAISE_WITHIN = 0.9  # of the budget: encoders vary by some 5% from second to second

# Of the highest layer's bit rate: LiveKit's presets halve width and height, and rates fall a little slower.
_SHARES = {VideoQuality.LOW: 0.1, VideoQuality.MEDIUM: 0.3, VideoQuality.HIGH: 1.0}
_UNKNOWN_BPS = 1_700_000  # LiveKit's preset for 720p


@dataclass(frozen=True, slots=True)
class RecordedVideo:
    """A video of the recording. `cap`: the best layer that its rule lets it have.

    `declared_bps`: what its publisher says of its layers. `measured_bps` is what comes now, of the layer
    `taken`; 0 until it is known. `simulcasted` False: there is one layer only.
    `muted`: its publisher sends nothing. `pinned` is the layer that a person asked for, whatever it takes.
    """

    sid: str
    participant_identity: str
    source: str
    simulcasted: bool
    cap: VideoQuality
    taken: VideoQuality
    measured_bps: float = 0.0
    declared_bps: Mapping[VideoQuality, int] = field(default_factory=dict)
    muted: bool = False
    pinned: VideoQuality | None = None

    def cost_bps(self, quality: VideoQuality) -> float:
        """What a layer costs: measured, or as declared, or in proportion to what is known."""
        if not self.simulcasted:
            return self.measured_bps or self.declared_bps.get(VideoQuality.HIGH, 0) or _UNKNOWN_BPS
        if quality is self.taken and self.measured_bps:
            return self.measured_bps
        if declared := self.declared_bps.get(quality):
            return declared
        if self.measured_bps:
            return self.measured_bps * _SHARES[quality] / _SHARES[self.taken]
        return _UNKNOWN_BPS * _SHARES[quality]

    def wanted_bps(self, quality: VideoQuality) -> float:
        """What a layer takes on a way that carries it whole, where less may come now. A screen takes what it shows."""
        if self.muted:
            return 0.0
        if self.source == TrackSource.SCREEN_SHARE:
            return self.cost_bps(quality)
        declared = self.declared_bps.get(quality if self.simulcasted else VideoQuality.HIGH, 0)
        return max(self.cost_bps(quality), declared)


def allocate(policy: LayerPolicy, videos: Sequence[RecordedVideo], budget_bps: float) -> dict[str, VideoQuality]:
    """A layer for each video, within `budget_bps` as far as the pinned and the lowest layers allow."""
    chosen = {video.sid: VideoQuality.LOW if video.pinned is None else video.pinned for video in videos}
    left = budget_bps - sum(video.cost_bps(chosen[video.sid]) for video in videos)
    for rank in range(3):
        group = [video for video in videos if video.pinned is None and _rank(policy, video) == rank]
        for quality in (VideoQuality.MEDIUM, VideoQuality.HIGH):
            for video in group:
                before = chosen[video.sid]
                if quality > _most(policy, video) or before != quality - 1:
                    continue
                more = video.cost_bps(quality) - video.cost_bps(before)
                if more <= left:
                    left -= more
                    chosen[video.sid] = quality
    return chosen


def _rank(policy: LayerPolicy, video: RecordedVideo) -> int:
    if video.source == TrackSource.SCREEN_SHARE:
        return 0
    return 1 if is_in_focus(policy, video.participant_identity) else 2


def is_in_focus(policy: LayerPolicy, participant_identity: str) -> bool:
    """Whether a participant's videos come before others'."""
    return any(fnmatchcase(participant_identity, focus) for focus in policy.focus)


def _most(policy: LayerPolicy, video: RecordedVideo) -> VideoQuality:
    return min(policy.quality, video.cap)


@dataclass(slots=True)
class LayerAllocator:
    """Remembers what was chosen, so that it changes only for good reasons."""

    _chosen: dict[str, VideoQuality] = field(default_factory=dict)
    _changed_at: dict[str, float] = field(default_factory=dict)

    def step(self, policy: LayerPolicy, videos: Sequence[RecordedVideo], now: float) -> dict[str, VideoQuality]:
        """The layer to take of each video at `now` (seconds); call it about once a second."""
        if policy.budget_bps is None:
            wanted = {video.sid: _most(policy, video) for video in videos}
        else:
            wanted = self._within(policy, policy.budget_bps, videos, now)
        for sid, quality in wanted.items():
            if self._chosen.get(sid) is not quality:
                self._changed_at[sid] = now
        self._chosen = wanted
        self._changed_at = {sid: at for sid, at in self._changed_at.items() if sid in wanted}
        return dict(wanted)

    def _within(
        self, policy: LayerPolicy, budget_bps: int, videos: Sequence[RecordedVideo], now: float
    ) -> dict[str, VideoQuality]:
        full = allocate(policy, videos, budget_bps)
        spared = allocate(policy, videos, RAISE_WITHIN * budget_bps)
        wanted = {}
        pinned = {video.sid for video in videos if video.pinned is not None}
        for sid, most in full.items():
            current = self._chosen.get(sid)
            if current is None or most < current or sid in pinned:
                wanted[sid] = most
            elif now - self._changed_at[sid] >= RAISE_AFTER_S:
                wanted[sid] = max(current, min(spared[sid], most))
            else:
                wanted[sid] = current
        return wanted
