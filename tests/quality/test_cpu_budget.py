"""The CPU budget of decoding: down before frames are lost, back in steps, rarer after each that failed."""

import itertools
import math

from quality.cpu_budget import (
    CUT,
    LEAST_SHARE,
    MAX_RAISE_AFTER_S,
    RAISE_AFTER_S,
    SATURATED_S,
    SHORT_S,
    CpuBudget,
    CpuUse,
    step,
)

SHORT, CALM = CpuUse(1.0, 0.95), CpuUse(1.0, 0.4)


def run(seconds: list[CpuUse], decoding: float = 2.0, state: CpuBudget | None = None) -> tuple[CpuBudget, list[float]]:
    state, cores = state or CpuBudget(), []
    for at, use in enumerate(seconds):
        state = step(state, use, min(decoding, state.cores), 1000.0 + at)
        cores.append(state.cores)
    return state, cores


def test_a_machine_with_room_has_no_limit() -> None:
    _, cores = run([CALM] * 300)
    assert set(cores) == {math.inf}
    assert set(run([CpuUse(0.0, 0.0)] * 60)[1]) == {math.inf}, "a kernel that tells nothing limits nothing"


def test_threads_that_wait_for_seconds_cut_what_decoding_takes() -> None:
    _, cores = run([SHORT] * (int(SHORT_S) + 2))
    assert cores.index(CUT * 2.0) == SHORT_S
    longer = run([SHORT] * 60)[1]
    assert all(after <= before for before, after in itertools.pairwise(longer))
    assert longer[-1] < 0.5


def test_a_thread_with_no_time_left_at_all_is_not_waited_for_as_long() -> None:
    _, cores = run([CpuUse(1.0, 1.0)] * (int(SHORT_S) + 2))
    assert cores.index(CUT * 2.0) == SATURATED_S
    assert set(run([CpuUse(1.0, 1.0), CpuUse(1.0, 1.0), CALM] * 20)[1]) == {math.inf}


def test_a_moment_is_no_shortage_and_little_decoding_is_not_cut() -> None:
    assert set(run([SHORT, SHORT, CALM] * 20)[1]) == {math.inf}
    assert set(run([SHORT] * 60, decoding=LEAST_SHARE / 2)[1]) == {math.inf}


def test_what_lies_between_short_and_calm_changes_nothing() -> None:
    between = CpuUse(1.0, 0.7)
    assert set(run([between] * 300)[1]) == {math.inf}
    cut, _ = run([SHORT] * 7)
    assert set(run([between] * 300, state=cut)[1]) == {cut.cores}


def test_a_small_share_of_a_processor_is_kept_to_as_well() -> None:
    """A container with a tenth of a core, most of which decodes."""
    _, cores = run([CpuUse(0.1, 1.0)] * (int(SHORT_S) + 2), decoding=0.07)
    assert cores[-1] == CUT * 0.07


def test_no_budget_is_below_what_the_lowest_layers_take() -> None:
    state = CpuBudget()
    for at in range(300):
        state = step(state, CpuUse(0.1, 1.0), min(0.2, max(0.05, state.cores)), float(at), least_cores=0.05)
    assert state.cores == 0.05


def test_it_comes_back_in_steps_once_it_is_calm() -> None:
    state, _ = run([SHORT] * 7)
    state = step(state, CALM, 1.0, 2000.0)
    cut = state.cores
    at = 2000.0
    while math.isfinite(state.cores):
        at += 1
        state = step(state, CALM, 1.0, at)
        assert state.cores >= cut
    assert RAISE_AFTER_S < at - 2000.0 < 200


def test_raises_that_bring_the_shortage_back_grow_rare() -> None:
    state = CpuBudget()
    raises = []
    for at in range(1200):
        # More than a core of decoding is too much for this machine.
        short = min(2.0, state.cores) > 1.0
        before = state.cores
        state = step(state, SHORT if short else CALM, min(2.0, state.cores), float(at))
        if state.cores > before:
            raises.append(at)
    waits = [after - before for before, after in itertools.pairwise(raises)]
    assert waits == sorted(waits)
    assert waits[-1] >= MAX_RAISE_AFTER_S > RAISE_AFTER_S
