"""Named degradations of one track: told once when they begin and once when they end, each with reason and numbers.

`step` takes windows one after the other. A pattern begins when its rule sees it, and ends when the rule has not seen
it for `END_AFTER_S`; what lies between does neither. Several may be active at once: a link that collapses freezes
the picture too. Of network-, CPU- and publisher-limited at most one begins at a time.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum

from quality import pattern_limits, pattern_rules, pattern_silence
from quality.pattern_limits import Cause
from quality.pattern_series import Figure, Finding, Memory, Presence, Rule, Sample, View, keep, remember
from quality.window import Window

END_AFTER_S = 5.0  # what comes back within this time has not ended


class Pattern(StrEnum):
    """A degradation that people have a word for."""

    STEADY_LOSS = "steady_loss"
    LOSS_BURSTS = "loss_bursts"
    GROWING_JITTER = "growing_jitter"
    BANDWIDTH_COLLAPSE = "bandwidth_collapse"
    OSCILLATING_LAYERS = "oscillating_layers"
    FREEZE = "freeze"
    STUCK_TRACK = "stuck_track"
    SILENT_TRACK = "silent_track"
    KEYFRAME_STORM = "keyframe_storm"
    NETWORK_LIMITED = "network_limited"
    CPU_LIMITED = "cpu_limited"
    PUBLISHER_LIMITED = "publisher_limited"


_RULES: dict[Pattern, Rule] = {
    Pattern.STEADY_LOSS: pattern_rules.steady_loss,
    Pattern.LOSS_BURSTS: pattern_rules.loss_bursts,
    Pattern.GROWING_JITTER: pattern_rules.growing_jitter,
    Pattern.BANDWIDTH_COLLAPSE: pattern_rules.bandwidth_collapse,
    Pattern.OSCILLATING_LAYERS: pattern_rules.oscillating_layers,
    Pattern.FREEZE: pattern_rules.freeze,
    Pattern.STUCK_TRACK: pattern_rules.stuck_track,
    Pattern.SILENT_TRACK: pattern_silence.silent_track,
    Pattern.KEYFRAME_STORM: pattern_rules.keyframe_storm,
}
_LIMITS = {
    Pattern.NETWORK_LIMITED: Cause.NETWORK,
    Pattern.CPU_LIMITED: Cause.CPU,
    Pattern.PUBLISHER_LIMITED: Cause.PUBLISHER,
}


@dataclass(frozen=True, slots=True)
class PatternChange:
    """`pattern` of `track_sid` began (`began`) or ended at `at`. `reason` is a sentence, `figures` what supports it.

    `began_at` is when the pattern was told to begin: `at` itself where it does now.
    """

    track_sid: str
    pattern: Pattern
    began: bool
    at: float
    began_at: float
    reason: str
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True, slots=True)
class ActivePattern:
    """A pattern that was told to begin and not to end; `clear_since` is since when its rule has called it absent."""

    pattern: Pattern
    began_at: float
    reference: float = 0.0
    clear_since: float | None = None


@dataclass(frozen=True, slots=True)
class PatternState:
    """What `step` remembers of one track. Begin with `start`."""

    track_sid: str
    samples: tuple[Sample, ...] = ()
    memory: Memory = field(default_factory=Memory)
    active: tuple[ActivePattern, ...] = ()


def start(track_sid: str) -> PatternState:
    """The state of a track nothing is known of."""
    return PatternState(track_sid)


def step(state: PatternState, window: Window, now: float) -> tuple[PatternState, tuple[PatternChange, ...]]:
    """Take in `window`, which ended at `now`, and tell what began and what ended, in the order of `Pattern`.

    A mute ends everything: nothing is expected of a muted track. A window that is not measured (reconnect) is
    passed over; one that ended no later than the one before is, too.
    """
    if window.muted or window.was_muted:
        return _muted(state, now)
    if not window.measured or (state.samples and now <= state.samples[-1].at):
        return state, ()
    state = replace(state, samples=keep(state.samples, window, now), memory=remember(state.memory, window, now))
    return _judged(state, now)


def _muted(state: PatternState, now: float) -> tuple[PatternState, tuple[PatternChange, ...]]:
    muted = Finding(Presence.ABSENT, "muted")
    return start(state.track_sid), tuple(_ended(state, active, muted, now) for active in state.active)


def _judged(state: PatternState, now: float) -> tuple[PatternState, tuple[PatternChange, ...]]:
    before = {active.pattern: active for active in state.active}
    after: list[ActivePattern] = []
    changes: list[PatternChange] = []
    view = View(state.samples, state.memory, now)
    limits = pattern_limits.findings(view)
    for pattern in Pattern:
        known = before.get(pattern)
        finding = limits[_LIMITS[pattern]] if pattern in _LIMITS else _RULES[pattern](_told(view, known))
        active = _begun(pattern, finding, now) if known is None else _kept(known, finding, now)
        if active is not None:
            after.append(active)
        if known is None and active is not None:
            changes.append(_change(state, active, finding, now, began=True))
        elif known is not None and active is None:
            changes.append(_ended(state, known, finding, now))
    return replace(state, active=tuple(after)), tuple(changes)


def _told(view: View, known: ActivePattern | None) -> View:
    """`view` with what was told of a pattern already."""
    return view if known is None else replace(view, began_at=known.began_at, reference=known.reference)


def _begun(pattern: Pattern, finding: Finding, now: float) -> ActivePattern | None:
    return ActivePattern(pattern, now, finding.reference) if finding.presence is Presence.PRESENT else None


def _kept(active: ActivePattern, finding: Finding, now: float) -> ActivePattern | None:
    if finding.presence is not Presence.ABSENT:
        return replace(active, clear_since=None)
    since = now if active.clear_since is None else active.clear_since
    return replace(active, clear_since=since) if now - since < END_AFTER_S else None


def _ended(state: PatternState, active: ActivePattern, finding: Finding, now: float) -> PatternChange:
    return _change(state, active, finding, now, began=False)


def _change(state: PatternState, active: ActivePattern, finding: Finding, now: float, *, began: bool) -> PatternChange:
    return PatternChange(state.track_sid, active.pattern, began, now, active.began_at, finding.reason, finding.figures)
