"""How good a track is, on the scale of LiveKit's server, so that both can be compared.

Source: livekit-server 1.13.4, `pkg/sfu/connectionquality/scorer.go`. Left out on purpose: the delay and
bitrate terms (off in the server's production settings) and its discount for sparse packets (audio in
discontinuous transmission, still screens), so that a loss there weighs more here than at the server.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from quality.stats import Direction, TrackKind
from quality.window import Window

MAX_SCORE = 100.0
FLOOR_SCORE = 30.0  # the server's: from lower, the way back up would take too long
PAUSED_SCORE = 30.0
NOTHING_RECEIVED_SCORE = 40.0
LOST_SCORE = 20.0
LAYER_WEIGHT = 35.0  # the server's: each layer that is missed drops the quality by one level
RISE_FACTOR = 0.4  # the server's: slow to believe in a recovery
FALL_FACTOR = 0.8  # the server's: quick to show a loss
SERVER_INTERVAL_S = 5.0  # the server scores every 5 s; its factors belong to that interval
SILENT_AFTER_S = 4.5  # one server interval, less what a poller's ticks may be off


class ConnectionQuality(StrEnum):
    """LiveKit's `ConnectionQuality`."""

    EXCELLENT = "excellent"
    GOOD = "good"
    POOR = "poor"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Score:
    """A track's quality: `value` 0..100, what that means, MOS 1..4.5, and why it is no better.

    `reasons` is empty where nothing lowers the score now; a score below 100 then is still recovering.
    """

    value: float
    quality: ConnectionQuality
    mos: float
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScoreState:
    """What `step` remembers of one track. Begin with `start`."""

    packet_loss_weight: float
    value: float = MAX_SCORE
    silent_since: float | None = None
    reports_stopped: bool = False


def start(kind: TrackKind, *, red: bool = False, fec: bool = False) -> ScoreState:
    """The state of a track nothing is known of: as good as can be, like the server's."""
    return ScoreState(packet_loss_weight=packet_loss_weight(kind, red=red, fec=fec))


def packet_loss_weight(kind: TrackKind, *, red: bool = False, fec: bool = False) -> float:
    """Points lost per percent of packets lost: video 10, Opus 8, RED 4; FEC makes audio 1.5 times as tough."""
    if kind is TrackKind.VIDEO:
        return 10.0
    weight = 4.0 if red else 8.0
    return weight / 1.5 if fec else weight


def step(state: ScoreState, window: Window, now: float) -> tuple[ScoreState, Score]:
    """Take in `window`, which ended at `now`, and judge the track.

    Windows may be of any length: smoothing is scaled to the server's interval of 5 s, and silence is
    judged once it has lasted as long. A window that cannot be judged leaves the score as it was.
    """
    if window.muted:
        return _muted(state)
    if window.stream_paused:
        paused = replace(state, value=PAUSED_SCORE, silent_since=None)
        return _judged(paused, "paused by the server for want of bandwidth")
    if not window.measured or window.was_muted:
        return _judged(state)
    if window.packets_expected == 0:
        return _silent(state, window, now)
    return _flowing(replace(state, silent_since=None), window)


def worst(scores: tuple[Score, ...]) -> Score | None:
    """A participant is as good as its worst track; None for a participant without tracks."""
    return min(scores, key=lambda score: score.value, default=None)


def connection_quality(value: float) -> ConnectionQuality:
    """The server's levels: over 80 excellent, over 40 good, over 20 poor."""
    if value > 80.0:
        return ConnectionQuality.EXCELLENT
    if value > 40.0:
        return ConnectionQuality.GOOD
    return ConnectionQuality.POOR if value > 20.0 else ConnectionQuality.LOST


def mean_opinion_score(value: float) -> float:
    """MOS 1..4.5 of a score 0..100 taken as the R factor (ITU-T G.107 Annex B)."""
    if value <= 0.0:
        return 1.0
    if value >= MAX_SCORE:
        return 4.5
    # Below 6.5 the polynomial dips under the scale.
    return max(1.0, 1.0 + 0.035 * value + 7e-6 * value * (value - 60.0) * (100.0 - value))


def _muted(state: ScoreState) -> tuple[ScoreState, Score]:
    # As at the server: a track that was lost does not become excellent by being muted.
    if state.value <= LOST_SCORE:
        return _judged(state, "muted after it was lost")
    return _judged(replace(state, value=MAX_SCORE, silent_since=None))


def _silent(state: ScoreState, window: Window, now: float) -> tuple[ScoreState, Score]:
    if window.direction is Direction.OUTBOUND:
        # Nobody may want it at the moment (dynacast): no fault of the track.
        return _judged(replace(state, silent_since=None))
    first = state.silent_since is None
    since = now - window.duration_s if state.silent_since is None else state.silent_since
    # One window with a report in it shows that the sender lives; "not known" shows nothing.
    stopped = window.sender_reports == 0 and (first or state.reports_stopped)
    state = replace(state, silent_since=since, reports_stopped=stopped)
    if now - since < SILENT_AFTER_S:
        return _judged(state)
    if stopped:
        return _judged(replace(state, value=LOST_SCORE), "nothing received, and no sender reports")
    return _judged(replace(state, value=NOTHING_RECEIVED_SCORE), "nothing received")


def _flowing(state: ScoreState, window: Window) -> tuple[ScoreState, Score]:
    packet_score = max(0.0, MAX_SCORE - window.loss_ratio * 100.0 * state.packet_loss_weight)
    layer_score = max(0.0, MAX_SCORE - window.layer_distance * LAYER_WEIGHT)
    target = min(packet_score, layer_score)
    factor = FALL_FACTOR if target < state.value else RISE_FACTOR
    kept = (1.0 - factor) ** (window.duration_s / SERVER_INTERVAL_S)
    value = max(FLOOR_SCORE, target + (state.value - target) * kept)
    reasons = []
    if packet_score < MAX_SCORE:
        reasons.append(f"{window.loss_ratio:.1%} of packets lost")
    if layer_score < MAX_SCORE:
        reasons.append(f"received {window.layer_distance} layer(s) below the requested one")
    return _judged(replace(state, value=value), *reasons)


def _judged(state: ScoreState, *reasons: str) -> tuple[ScoreState, Score]:
    return state, Score(state.value, connection_quality(state.value), mean_opinion_score(state.value), reasons)
