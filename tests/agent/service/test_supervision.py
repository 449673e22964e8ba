"""Supervision as a pure core: no process, no clock."""

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.service.protocol import ErrorReport, RoomEnded
from agent.service.supervision import (
    BACKOFF_FIRST_S,
    BACKOFF_LONGEST_S,
    FIRST_REPORT_TIMEOUT_S,
    HEALTHY_AFTER_S,
    REPORT_TIMEOUT_S,
    Action,
    Happening,
    Phase,
    ProcessExited,
    ProcessReported,
    ProcessSpawned,
    RoomSupervisionState,
    StopRequested,
    Tick,
    step,
)

CRASH = ProcessExited(-9, None)


def run(state: RoomSupervisionState, *steps: tuple[Happening, float]) -> RoomSupervisionState:
    for happening, now in steps:
        state, _ = step(state, happening, now)
    return state


def running_at(now: float) -> RoomSupervisionState:
    return run(RoomSupervisionState(), (ProcessSpawned(), now), (ProcessReported(running=True), now))


def test_a_crash_is_answered_by_a_restart_after_the_first_pause() -> None:
    state, actions = step(running_at(10.0), CRASH, 20.0)
    assert (state.phase, actions) == (Phase.BACKING_OFF, ())
    assert step(state, Tick(), 20.0 + BACKOFF_FIRST_S - 0.01)[1] == ()
    state, actions = step(state, Tick(), 20.0 + BACKOFF_FIRST_S)
    assert (state.phase, actions, state.restarts) == (Phase.STARTING, (Action.SPAWN,), 1)
    assert state.error is not None
    assert "signal 9" in state.error.message


def test_pauses_double_up_to_the_longest_and_start_anew_after_health() -> None:
    state = RoomSupervisionState()
    now = 0.0
    pauses = []
    for _ in range(9):
        state = run(state, (ProcessSpawned(), now), (CRASH, now))
        assert state.restart_at is not None
        pauses.append(state.restart_at - now)
        now = state.restart_at
        state, actions = step(state, Tick(), now)
        assert actions == (Action.SPAWN,)
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    state = run(state, (ProcessSpawned(), now), (ProcessReported(running=True), now), (CRASH, now + HEALTHY_AFTER_S))
    assert state.restart_at == now + HEALTHY_AFTER_S + BACKOFF_FIRST_S


def test_a_process_that_dies_young_keeps_the_longer_pause() -> None:
    state = run(running_at(0.0), (CRASH, 1.0), (Tick(), 2.0), (ProcessSpawned(), 2.0))
    state = run(state, (ProcessReported(running=True), 3.0), (CRASH, 3.0 + HEALTHY_AFTER_S - 1))
    assert state.restart_at == 3.0 + HEALTHY_AFTER_S - 1 + 2 * BACKOFF_FIRST_S


def test_what_another_try_cannot_mend_is_given_up() -> None:
    for code in ("unauthorized", "token_expired", "permission_denied", "invalid_settings"):
        ended = ProcessExited(10, RoomEnded("error", ErrorReport(code, "no")))
        state = run(running_at(0.0), (ended, 1.0))
        assert (state.phase, state.gone) == (Phase.FAILED, False)
        assert step(state, Tick(), 1e9) == (state, ())


def test_a_server_that_cannot_be_reached_is_tried_again() -> None:
    ended = ProcessExited(13, RoomEnded("error", ErrorReport("server_unreachable", "no", retryable=True)))
    assert run(running_at(0.0), (ended, 1.0)).phase is Phase.BACKING_OFF


def test_a_room_that_was_deleted_is_gone_and_a_taken_identity_fails() -> None:
    gone = run(running_at(0.0), (ProcessExited(0, RoomEnded("room_deleted")), 1.0))
    assert (gone.phase, gone.gone) == (Phase.ENDED, True)
    taken = run(running_at(0.0), (ProcessExited(0, RoomEnded("duplicate_identity")), 1.0))
    assert (taken.phase, taken.gone) == (Phase.FAILED, False)


def test_a_silent_process_is_killed_once_per_silence() -> None:
    state = run(running_at(0.0), (ProcessReported(running=False), 5.0))
    state, actions = step(state, Tick(), 5.0 + REPORT_TIMEOUT_S)
    assert actions == ()
    state, actions = step(state, Tick(), 5.1 + REPORT_TIMEOUT_S)
    assert actions == (Action.KILL,)
    assert step(state, Tick(), 6.0 + REPORT_TIMEOUT_S)[1] == ()


def test_a_process_that_loads_is_given_more_time_than_one_that_had_something_to_say() -> None:
    loading = run(RoomSupervisionState(), (ProcessSpawned(), 10.0))
    assert step(loading, Tick(), 10.0 + FIRST_REPORT_TIMEOUT_S)[1] == ()
    assert step(loading, Tick(), 10.1 + FIRST_REPORT_TIMEOUT_S)[1] == (Action.KILL,)
    joining = run(loading, (ProcessReported(running=False), 20.0))
    assert step(joining, Tick(), 20.1 + REPORT_TIMEOUT_S)[1] == (Action.KILL,)


def test_what_stood_still_together_with_its_supervisor_is_not_silent() -> None:
    state = run(running_at(0.0), (Tick(), 5.0))
    thawed_at = 5.0 + 10 * REPORT_TIMEOUT_S
    state, actions = step(state, Tick(), thawed_at)
    assert actions == ()
    for tenth in range(1, 10 * (int(REPORT_TIMEOUT_S) - 5) + 1):
        state, actions = step(state, Tick(), thawed_at + tenth / 10)
        assert actions == ()
    assert step(state, Tick(), thawed_at + REPORT_TIMEOUT_S - 4.5)[1] == (Action.KILL,), "it was silent before"


def test_a_pause_does_not_count_as_silence() -> None:
    state = run(running_at(0.0), (CRASH, 1.0))
    long_after = 1000.0
    state, _ = step(state, Tick(), long_after)
    assert step(state, Tick(), long_after + 1)[1] == ()


def test_stopping_drains_and_whatever_end_comes_is_the_end() -> None:
    state, actions = step(running_at(0.0), StopRequested(for_good=True), 1.0)
    assert (state.phase, actions) == (Phase.DRAINING, (Action.TERMINATE,))
    for exited in (ProcessExited(0, RoomEnded("drained")), CRASH):
        assert run(state, (exited, 2.0)).phase is Phase.ENDED


_errors = st.none() | st.builds(
    ErrorReport, st.sampled_from(["internal", "unauthorized", "server_unreachable"]), st.just("x")
)
_reasons = st.sampled_from(["error", "room_deleted", "duplicate_identity", "drained", "signal_close"])
_happenings: st.SearchStrategy[Happening] = st.one_of(
    st.just(ProcessSpawned()),
    st.builds(ProcessReported, st.booleans()),
    st.builds(ProcessExited, st.integers(-15, 40), st.none() | st.builds(RoomEnded, _reasons, _errors)),
    st.builds(StopRequested, st.booleans()),
    st.just(Tick()),
)


@settings(max_examples=200)
@given(st.lists(st.tuples(_happenings, st.floats(0, 100)), max_size=40))
def test_supervision_holds_its_promises_whatever_happens(happenings: list[tuple[Happening, float]]) -> None:
    state = RoomSupervisionState()
    now = 0.0
    stopped = False
    for happening, passed_s in happenings:
        now += passed_s
        before = state
        state, actions = step(state, happening, now)
        stopped = stopped or (isinstance(happening, StopRequested) and not before.phase.final)
        if before.phase.final:
            assert (state, actions) == (before, ())
        if Action.SPAWN in actions:
            assert not stopped
            assert before.restart_at is not None
            assert now >= before.restart_at
            assert state.restarts == before.restarts + 1
        if stopped:
            assert state.phase in {Phase.DRAINING, Phase.ENDED, Phase.FAILED}
        assert BACKOFF_FIRST_S <= state.backoff_s <= BACKOFF_LONGEST_S
        assert (state.phase is Phase.BACKING_OFF) == (state.restart_at is not None) or state.phase.final
        if state.restart_at is not None and before.restart_at is None:
            assert BACKOFF_FIRST_S - 1e-6 <= state.restart_at - now <= BACKOFF_LONGEST_S + 1e-6
