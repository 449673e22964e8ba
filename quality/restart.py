"""Which tracks to restart, and what to do where that does not help. Pure: a second's health in, remedies out.

A remedy is watched: media that flow again end the matter, and where they do not the next remedy of the ladder follows,
each after twice the wait. The last one only tells.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from quality.judge import Judgement
from quality.patterns import Pattern
from quality.stats import Direction, TrackKind
from quality.window import Window

WATCH_S = 8.0  # a new subscription's first key frame takes up to 2 s, and what is judged lags by seconds
MAX_WATCH_S = 60.0
PROVEN_S = 3.0  # media that flow for so long have come back
FORGET_S = 60.0  # trouble after so long a peace is a new one
ALL_STUCK_S = 10.0  # without sound sent in pauses, or a picture that moves, a live track may be quiet for seconds
RUNAWAY_REQUESTS = 2  # key frames asked for in one second


class Problem(StrEnum):
    """What is wrong with a track that should flow."""

    STUCK = "stuck"
    NO_PICTURE = "no_picture"
    SILENT = "silent"
    GONE = "gone"


class Remedy(StrEnum):
    """What is done about it."""

    RESTART = "restart"
    LOWER_LAYER = "lower_layer"
    AUDIO_ONLY = "audio_only"
    REPORT = "report"


class Outcome(StrEnum):
    """What became of a remedy."""

    RECOVERED = "recovered"
    FAILED = "failed"
    OVERTAKEN = "overtaken"
    """The track or the connection went before it was known."""


@dataclass(frozen=True, slots=True)
class Health:
    """One track in one second. `flows`: media came or went. `problem` None with `flows` False: nothing is known.

    `can_go_lower` counts where there is a problem: a lower layer of the video can be had. `keep_video`: it is never
    given up. `cut_in_vain`: what comes is whole, and a restart would only cut it.
    """

    direction: Direction
    kind: TrackKind
    flows: bool
    problem: Problem | None = None
    reason: str = ""
    can_go_lower: bool = False
    keep_video: bool = False
    cut_in_vain: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    """Do `remedy`. `attempt` counts from 1; `reason` and `expects` are for people, and for the log."""

    remedy: Remedy
    problem: Problem
    attempt: int
    reason: str
    expects: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A remedy is over; `took_s` from it to the media that came, or to the end of the wait for them.

    `problem` is what it was for.
    """

    remedy: Remedy
    problem: Problem
    outcome: Outcome
    took_s: float


@dataclass(frozen=True, slots=True)
class RestartState:
    """What `step` remembers of one track. Begin with `RestartState()`.

    `watched`: what was done last, while its effect is awaited. `lowered`: a lower layer was tried, and keeps its place
    in the ladder though none may be left below it.
    """

    taken: int = 0
    lowered: bool = False
    watched: Action | None = None
    acted_at: float = 0.0
    next_at: float = 0.0
    clear_since: float | None = None


def health(judgement: Judgement, *, recorded: bool = False, encrypted: bool = False) -> Health:
    """What a judgement says of a track. `recorded`: what comes is, by the connection that it comes over.

    `encrypted`: end to end, so that another key than ours gives no picture either. Neither video is ever given up.
    """
    window = judgement.window
    if not _counts(window):
        return Health(window.direction, window.kind, flows=False)
    flows = window.packets > 0 and (window.frames > 0 or window.kind is TrackKind.AUDIO)
    problem, reason = _problem(judgement, flows=flows)
    if encrypted and problem is Problem.NO_PICTURE:
        reason += "; it is encrypted: look whether the key is the room's"
    # Decoded sound that is silent was sent so. Of what else is silent a restart costs nothing unless it is recorded.
    in_vain = problem is Problem.SILENT and flows and (recorded or window.content.sounds > 0)
    return Health(
        window.direction,
        window.kind,
        flows and problem is None,
        problem,
        reason,
        keep_video=recorded or encrypted,
        cut_in_vain=in_vain,
    )


def _counts(window: Window) -> bool:
    """Whether something is expected of a track, and it can be told what came."""
    return window.measured and not window.rests


def is_down(windows: Sequence[Window], stuck: int, quiet_s: float) -> bool:
    """Whether it is the connection that gives nothing, in `quiet_s` by now: it mends itself.

    `windows` are of all that is received, `stuck` of them known to be. Until all can be known to be it is taken for so.
    """
    awake = [window for window in windows if _counts(window)]
    if len(awake) < 2 or not stuck or any(window.packets for window in windows):
        return False
    return stuck == len(awake) or quiet_s < ALL_STUCK_S


def gone(direction: Direction, kind: TrackKind) -> Health:
    """The health of a publication that is in the room no longer, though nobody withdrew it."""
    return Health(direction, kind, flows=False, problem=Problem.GONE, reason="the server has the publication no longer")


def vanished(kind: str, *, keep_video: bool = False) -> Health:
    """The health of a received track that was restarted and is not there at all since."""
    return Health(
        Direction.INBOUND,
        TrackKind(kind),
        flows=False,
        problem=Problem.STUCK,
        reason="nothing came of the restart",
        keep_video=keep_video,
    )


def never_came(kind: str) -> Health:
    """The health of a received track that was asked for, and of which nothing has been there since."""
    reason = "asked for, and not given"
    return Health(
        Direction.INBOUND, TrackKind(kind), flows=False, problem=Problem.STUCK, reason=reason, keep_video=True
    )


def step(state: RestartState, seen: Health, now: float) -> tuple[RestartState, tuple[Action | Ended, ...]]:
    """Take in one second of a track (`now`: Unix seconds): what to do, and what became of what was done before."""
    if seen.problem is None:
        return _clear(state, now) if seen.flows else (replace(state, clear_since=None), ())
    state = replace(state, clear_since=None)
    if now < state.next_at:
        return state, ()
    ended = _ended(state, Outcome.FAILED, now - state.acted_at)
    state = replace(state, watched=None)
    ladder = remedies(replace(seen, can_go_lower=seen.can_go_lower or state.lowered))
    if state.taken >= len(ladder):
        return state, ended
    remedy = ladder[state.taken]
    action = Action(remedy, seen.problem, state.taken + 1, seen.reason, _EXPECTED[remedy])
    wait_s = min(MAX_WATCH_S, WATCH_S * 2**state.taken)
    state = replace(
        state,
        taken=state.taken + 1,
        lowered=state.lowered or remedy is Remedy.LOWER_LAYER,
        watched=None if remedy is Remedy.REPORT else action,
        acted_at=now,
        next_at=now + wait_s,
    )
    return state, (*ended, action)


def overtaken(state: RestartState, now: float) -> tuple[Ended, ...]:
    """What is to be told as a track, or the whole connection, is gone."""
    if state.watched is not None and state.watched.remedy is Remedy.AUDIO_ONLY:
        return ()  # it went for that
    return _ended(state, Outcome.OVERTAKEN, now - state.acted_at)


def remedies(seen: Health) -> tuple[Remedy, ...]:
    """What is tried, in this order, for a track with a problem."""
    if seen.problem is Problem.SILENT:
        # Who is silent most often is so by choice, and what we send is as silent as its source.
        if seen.direction is Direction.OUTBOUND or seen.cut_in_vain:
            return (Remedy.REPORT,)
        return (Remedy.RESTART, Remedy.REPORT)
    found = [Remedy.RESTART, Remedy.RESTART]
    if seen.direction is Direction.OUTBOUND or seen.kind is TrackKind.AUDIO:
        return (*found, Remedy.RESTART, Remedy.REPORT)
    if seen.can_go_lower:
        found.append(Remedy.LOWER_LAYER)
    if not seen.keep_video:
        found.append(Remedy.AUDIO_ONLY)
    return (*found, Remedy.REPORT)


_EXPECTED = {
    Remedy.RESTART: f"media within {WATCH_S:.0f} s",
    Remedy.LOWER_LAYER: "a picture from the lower layer",
    Remedy.AUDIO_ONLY: "sound without the picture",
    Remedy.REPORT: "somebody to look at it; nothing more is tried until media flow",
}


def _clear(state: RestartState, now: float) -> tuple[RestartState, tuple[Action | Ended, ...]]:
    since = now if state.clear_since is None else state.clear_since
    state = replace(state, clear_since=since)
    if now - since >= FORGET_S:
        return RestartState(clear_since=since), ()
    if state.watched is None or now - since < PROVEN_S:
        return state, ()
    return replace(state, watched=None), _ended(state, Outcome.RECOVERED, max(0.0, since - state.acted_at))


def _ended(state: RestartState, outcome: Outcome, took_s: float) -> tuple[Ended, ...]:
    if state.watched is None:
        return ()
    return (Ended(state.watched.remedy, state.watched.problem, outcome, took_s),)


def _problem(judgement: Judgement, *, flows: bool) -> tuple[Problem | None, str]:
    window = judgement.window
    active = {each.pattern for each in judgement.patterns}
    if Pattern.STUCK_TRACK in active and not flows:
        if window.packets == 0:
            if window.direction is Direction.OUTBOUND and window.kind is TrackKind.VIDEO:
                return Problem.STUCK, "pictures are captured and wanted, and none is encoded"
            return Problem.STUCK, "nothing comes though it is not muted"
        return Problem.NO_PICTURE, f"{window.packets} packets a second and no picture"
    requests = window.pli_count + window.fir_count
    if Pattern.KEYFRAME_STORM in active and window.direction is Direction.INBOUND and requests >= RUNAWAY_REQUESTS:
        return Problem.NO_PICTURE, f"{requests} key frames asked for in a second, again and again"
    if Pattern.SILENT_TRACK in active:
        return Problem.SILENT, "not muted, and silent"
    return None, ""
