"""When a room's process is started, started again, ended or given up (pure).

`step` is the one place that moves a room's supervision. A process that dies is started again after a pause
that doubles up to a bound; one that was healthy for a while starts from the shortest pause again.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

from agent.service.protocol import ErrorReport, RoomEnded

BACKOFF_FIRST_S = 0.5  # short: the room's media is lost meanwhile
BACKOFF_FACTOR = 2.0
BACKOFF_LONGEST_S = 30.0  # a server that is back is joined within half a minute
HEALTHY_AFTER_S = 60.0  # longer than any start, so a crash loop never looks healthy
LATE_TICK_S = 1.0  # ticks come every 0.1 s; where one is later, all that is run here may have stood still
REPORT_TIMEOUT_S = 30.0  # reports come each second; a process silent for so long hangs
FIRST_REPORT_TIMEOUT_S = 180.0  # loading takes 2 s, and on a machine with no CPU to spare a minute or more

# Codes that another try cannot mend: the settings, the key, the token or the request must change first.
PERMANENT_CODES = frozenset(
    {
        "invalid_settings",
        "unauthorized",
        "token_expired",
        "permission_denied",
        "source_unreadable",
        "unsupported_codec",
        "recording_damaged",
        "invalid_encryption_key",
    }
)
# LiveKit's DisconnectReason, lower case. Somebody ended the room or removed us on purpose:
# or the recording is over that we were there for.
GONE_REASONS = frozenset({"room_deleted", "room_closed", "participant_removed", "recording_ended"})
# Somebody else took our identity: coming back would throw them out, and they us, for ever.
PERMANENT_REASONS = frozenset({"duplicate_identity", "user_rejected"})


class Phase(StrEnum):
    """Where a room's process stands. ENDED and FAILED are final."""

    STARTING = "starting"
    RUNNING = "running"
    BACKING_OFF = "backing_off"
    DRAINING = "draining"
    ENDED = "ended"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        """Whether no process will run for it any more."""
        return self in {Phase.ENDED, Phase.FAILED}


@dataclass(frozen=True, slots=True)
class RoomSupervisionState:
    """One room's supervision. `backoff_s` is the pause after the next death, times are Unix seconds.

    `reason` and `error` are of the last process that ended; `gone` says that the room is not wanted any more.
    """

    phase: Phase = Phase.STARTING
    restarts: int = 0
    backoff_s: float = BACKOFF_FIRST_S
    started_at: float = 0.0
    reported_at: float = 0.0
    running_since: float | None = None
    restart_at: float | None = None
    reason: str = ""
    error: ErrorReport | None = None
    gone: bool = False
    ticked_at: float | None = None


@dataclass(frozen=True, slots=True)
class ProcessSpawned:
    """A process was started."""


@dataclass(frozen=True, slots=True)
class ProcessReported:
    """It sent something; `running` once the room is joined."""

    running: bool


@dataclass(frozen=True, slots=True)
class ProcessExited:
    """It ended. `ended` is its last word, None when it had none (a crash). `returncode` is -N for signal N."""

    returncode: int
    ended: RoomEnded | None


@dataclass(frozen=True, slots=True)
class StopRequested:
    """It shall end: for good (`for_good`), or until the service runs again."""

    for_good: bool


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""


Happening: TypeAlias = ProcessSpawned | ProcessReported | ProcessExited | StopRequested | Tick


class Action(StrEnum):
    """What the shell does."""

    SPAWN = "spawn"
    TERMINATE = "terminate"
    KILL = "kill"


def step(
    state: RoomSupervisionState, happening: Happening, now: float
) -> tuple[RoomSupervisionState, tuple[Action, ...]]:
    """The state after `happening`, and what to do about it."""
    if state.phase.final:
        return state, ()
    match happening:
        case ProcessSpawned():
            return replace(state, started_at=now, reported_at=now), ()
        case ProcessReported(running):
            return _reported(state, running, now), ()
        case ProcessExited():
            return _exited(state, happening, now), ()
        case StopRequested(for_good):
            return _stopping(state, for_good)
        case Tick():
            return _ticked(state, now)


def _reported(state: RoomSupervisionState, running: bool, now: float) -> RoomSupervisionState:
    if state.phase is Phase.STARTING and running:
        return replace(state, phase=Phase.RUNNING, reported_at=now, running_since=now, error=None, reason="")
    return replace(state, reported_at=now)


def _exited(state: RoomSupervisionState, exited: ProcessExited, now: float) -> RoomSupervisionState:
    reason, error = _why(exited)
    state = replace(state, reason=reason, error=error)
    if state.phase is Phase.DRAINING:
        return replace(state, phase=Phase.ENDED, running_since=None)
    if reason in GONE_REASONS:
        return replace(state, phase=Phase.ENDED, running_since=None, gone=True)
    if reason in PERMANENT_REASONS or (error is not None and error.code in PERMANENT_CODES):
        return replace(state, phase=Phase.FAILED, running_since=None)
    healthy = state.running_since is not None and now - state.running_since >= HEALTHY_AFTER_S
    pause_s = BACKOFF_FIRST_S if healthy else state.backoff_s
    return replace(
        state,
        phase=Phase.BACKING_OFF,
        running_since=None,
        restart_at=now + pause_s,
        backoff_s=min(pause_s * BACKOFF_FACTOR, BACKOFF_LONGEST_S),
    )


def _why(exited: ProcessExited) -> tuple[str, ErrorReport | None]:
    if exited.ended is not None:
        return exited.ended.reason, exited.ended.error
    how = f"signal {-exited.returncode}" if exited.returncode < 0 else f"exit status {exited.returncode}"
    return "crashed", ErrorReport("internal", f"the room's process died of {how}; its log says more", retryable=True)


def _stopping(state: RoomSupervisionState, for_good: bool) -> tuple[RoomSupervisionState, tuple[Action, ...]]:
    gone = state.gone or for_good
    if state.phase is Phase.BACKING_OFF:
        return replace(state, phase=Phase.ENDED, restart_at=None, gone=gone), ()
    if state.phase is Phase.DRAINING:
        return replace(state, gone=gone), ()
    return replace(state, phase=Phase.DRAINING, gone=gone), (Action.TERMINATE,)


def _silence_allowed_s(state: RoomSupervisionState) -> float:
    still_loading = state.phase is Phase.STARTING and state.reported_at == state.started_at
    return FIRST_REPORT_TIMEOUT_S if still_loading else REPORT_TIMEOUT_S


def _ticked(state: RoomSupervisionState, now: float) -> tuple[RoomSupervisionState, tuple[Action, ...]]:
    absent_s = 0.0 if state.ticked_at is None else now - state.ticked_at
    state = replace(state, ticked_at=now)
    if absent_s > LATE_TICK_S:
        state = replace(state, reported_at=min(now, state.reported_at + absent_s))
    if state.phase is Phase.BACKING_OFF and state.restart_at is not None and now >= state.restart_at:
        # reported_at moves too: the hang watch must not count the pause.
        again = replace(state, phase=Phase.STARTING, restarts=state.restarts + 1, restart_at=None, reported_at=now)
        return again, (Action.SPAWN,)
    if state.phase in {Phase.STARTING, Phase.RUNNING} and now - state.reported_at > _silence_allowed_s(state):
        return replace(state, reported_at=now), (Action.KILL,)
    return state, ()
