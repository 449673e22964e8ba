"""What a process takes of its processors, from the kernel's statistics of each thread."""

import time
from pathlib import Path

import pytest

from agent.room import cpu_waiting
from agent.room.cpu_waiting import CpuWaiting


@pytest.mark.parametrize("elapsed_s", [1.0, 3.0])
def test_it_is_a_rate_however_long_ago_the_last_look_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elapsed_s: float
) -> None:
    now_s = 100.0
    monkeypatch.setattr(cpu_waiting, "TASKS", tmp_path)
    monkeypatch.setattr(time, "monotonic", lambda: now_s)

    def threads(*each: tuple[float, float]) -> None:
        for number, (ran_s, waited_s) in enumerate(each):
            (tmp_path / str(number)).mkdir(exist_ok=True)
            (tmp_path / str(number) / "schedstat").write_text(f"{ran_s * 1e9:.0f} {waited_s * 1e9:.0f} 7\n")

    threads((5.0, 1.0), (2.0, 0.0))
    waiting = CpuWaiting()
    waiting.take()
    now_s += elapsed_s
    threads((5.0 + 0.5 * elapsed_s, 1.0 + 0.25 * elapsed_s), (2.0 + 0.5 * elapsed_s, 0.0))
    use = waiting.take()
    assert use.ran_cores == pytest.approx(1.0)
    assert use.busiest == pytest.approx(0.75)
