"""Which simulcast layer of one subscribed video track to ask for.

The choice is a ceiling over the server's own: it only goes down where the picture suffers, and comes back
step by step. What keeps it from swinging: it takes more to be clean than not to be bad, upgrades wait, wait
longer after each one that failed, and nothing is judged right after a switch.
"""

from dataclasses import dataclass, replace

from quality.stats import Direction, TrackKind, TrackSource, VideoQuality
from quality.window import Window

BAD_SAMPLES = 2  # one bad second is noise; with samples of 1 s this reacts within 2 s
BAD_LOSS_RATIO = 0.06  # the server calls video with more than 6% lost POOR
CLEAN_LOSS_RATIO = 0.02  # and up to 2% EXCELLENT; what lies between changes nothing
BAD_FPS_RATIO = 0.6
CLEAN_FPS_RATIO = 0.8
EXPECTED_FPS_FALL = 0.98  # per second: a publisher's lower rate is taken as normal after 25 s (0.98^25 = 0.6)
EXPECTED_FPS_RISE = 0.3  # a burst after a stall must not raise what is expected in one sample
SETTLE_S = 3.0  # a switch takes 0.3 to 1.3 s; the rest is the jitter buffer's and the estimator's
UPGRADE_AFTER_S = 12.0
FAILED_UPGRADE_S = 7.0  # an upgrade that is taken back within this time has failed
PROVEN_UPGRADE_S = 30.0  # one that held this long ends the back-off
BACKOFF_FACTOR = 1.5
MAX_UPGRADE_AFTER_S = 120.0


@dataclass(frozen=True, slots=True)
class LayerDecision:
    """Ask the server for `to_quality` of `track_sid`; `reason` is a sentence for people."""

    track_sid: str
    from_quality: VideoQuality
    to_quality: VideoQuality
    reason: str


@dataclass(frozen=True, slots=True)
class LayerState:
    """What `step` remembers of one subscription. Begin with `start`.

    `quality` is what is asked for. `affordable` is the best quality that samples do not speak against:
    above `quality` only where a ceiling holds that down. `expected_fps` is the usual frame rate at
    each quality, 0 where unknown (publishers send their lower layers at lower rates).
    """

    track_sid: str
    quality: VideoQuality
    affordable: VideoQuality
    quiet_until: float
    bad_samples: int = 0
    clean_since: float | None = None
    upgraded_at: float | None = None
    upgrade_after_s: float = UPGRADE_AFTER_S
    expected_fps: tuple[float, float, float] = (0.0, 0.0, 0.0)


def start(track_sid: str, now: float, quality: VideoQuality = VideoQuality.HIGH) -> LayerState:
    """The state of a track that was subscribed at `now` with `quality` asked for (the server's default: HIGH)."""
    return LayerState(track_sid, quality, quality, quiet_until=now + SETTLE_S)


def step(
    state: LayerState, window: Window, now: float, ceiling: VideoQuality = VideoQuality.HIGH
) -> tuple[LayerState, LayerDecision | None]:
    """Take in `window` (about 1 s long, ended at `now`) and say whether to switch.

    The requested quality is never above `ceiling` (policy, or a person's choice) after this call: a
    lower ceiling works at once, on any track. Otherwise there is no decision for a track that is
    muted, paused by the server, just subscribed or switched, or not measured; nor without packets, since
    no layer helps where nothing is sent. With an unchanging ceiling, at most 7 switches in a minute.
    """
    if ceiling < state.quality:
        return _switch(state, ceiling, now, f"ceiling is {ceiling.name}")
    if not _can_judge(window):
        return replace(state, quiet_until=now + SETTLE_S, bad_samples=0, clean_since=None), None
    if now < state.quiet_until:
        return state, None
    allowed = min(state.affordable, ceiling)
    if state.quality < allowed:
        return _switch(state, allowed, now, f"ceiling is {ceiling.name}")
    complaint = _complaint(window, state.expected_fps[state.quality])
    if complaint is not None:
        return _bad(_forget(state, window), complaint, now)
    clean = _is_clean(window, state.expected_fps[state.quality])
    state = replace(_learn(_forget(state, window), window), bad_samples=0)
    if not clean:
        return replace(state, clean_since=None), None
    return _clean(state, now, ceiling)


def _bad(state: LayerState, complaint: str, now: float) -> tuple[LayerState, LayerDecision | None]:
    state = replace(state, bad_samples=state.bad_samples + 1, clean_since=None)
    if state.bad_samples < BAD_SAMPLES:
        return state, None
    if state.quality is VideoQuality.LOW:
        return replace(state, affordable=VideoQuality.LOW, bad_samples=0), None
    lower = VideoQuality(state.quality - 1)
    state = replace(state, affordable=lower, upgrade_after_s=_upgrade_after_s(state, now))
    return _switch(state, lower, now, complaint)


def _clean(state: LayerState, now: float, ceiling: VideoQuality) -> tuple[LayerState, LayerDecision | None]:
    clean_since = now if state.clean_since is None else state.clean_since
    state = replace(state, clean_since=clean_since)
    clean_s = now - clean_since
    if state.quality >= ceiling or clean_s < state.upgrade_after_s:
        return state, None
    higher = VideoQuality(state.quality + 1)
    return _switch(replace(state, affordable=higher), higher, now, f"clean for {clean_s:.0f} s")


def _switch(state: LayerState, quality: VideoQuality, now: float, reason: str) -> tuple[LayerState, LayerDecision]:
    decision = LayerDecision(state.track_sid, state.quality, quality, reason)
    switched = replace(
        state,
        quality=quality,
        quiet_until=now + SETTLE_S,
        bad_samples=0,
        clean_since=None,
        upgraded_at=now if quality > state.quality else None,
    )
    return switched, decision


def _upgrade_after_s(state: LayerState, now: float) -> float:
    """How long to stay clean before the next upgrade, given that the current quality is given up at `now`."""
    if state.upgraded_at is None:
        return state.upgrade_after_s
    held_s = now - state.upgraded_at
    if held_s <= FAILED_UPGRADE_S:
        return min(MAX_UPGRADE_AFTER_S, state.upgrade_after_s * BACKOFF_FACTOR)
    return UPGRADE_AFTER_S if held_s >= PROVEN_UPGRADE_S else state.upgrade_after_s


def _can_judge(window: Window) -> bool:
    return (
        window.measured
        and window.kind is TrackKind.VIDEO
        and window.direction is Direction.INBOUND
        and window.packets_expected > 0
        and not (window.muted or window.was_muted or window.stream_paused)
    )


def _complaint(window: Window, expected_fps: float) -> str | None:
    if window.loss_ratio > BAD_LOSS_RATIO:
        return f"{window.loss_ratio:.0%} of packets lost"
    if window.freeze_count > 0:
        return f"video froze for {window.freeze_s:.1f} s"
    if window.frames == 0 and window.source is not TrackSource.SCREEN_SHARE:
        return "packets arrive, but no complete frame"
    if window.fps < BAD_FPS_RATIO * _steady_fps(window, expected_fps):
        return f"{window.fps:.0f} frames per second where about {expected_fps:.0f} are usual"
    return None


def _is_clean(window: Window, expected_fps: float) -> bool:
    return window.loss_ratio <= CLEAN_LOSS_RATIO and window.fps >= CLEAN_FPS_RATIO * _steady_fps(window, expected_fps)


def _steady_fps(window: Window, expected_fps: float) -> float:
    """The frame rate to hold the window to; 0 for a screen, which sends frames when something changes."""
    return 0.0 if window.source is TrackSource.SCREEN_SHARE else expected_fps


def _learn(state: LayerState, window: Window) -> LayerState:
    usual = state.expected_fps[state.quality]
    if window.fps <= usual:
        return state
    raised = window.fps if usual == 0.0 else usual + EXPECTED_FPS_RISE * (window.fps - usual)
    low, medium, high = (raised if index == state.quality else fps for index, fps in enumerate(state.expected_fps))
    return replace(state, expected_fps=(low, medium, high))


def _forget(state: LayerState, window: Window) -> LayerState:
    fall = EXPECTED_FPS_FALL**window.duration_s
    low, medium, high = state.expected_fps
    return replace(state, expected_fps=(low * fall, medium * fall, high * fall))
