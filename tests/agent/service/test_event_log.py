"""The ring of events that every listener reads at its own pace."""

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.service.event_log import EventLog


def log_with(count: int, capacity: int = 10) -> EventLog:
    log = EventLog("boot", capacity)
    for number in range(count):
        log.append(f"e{number}", "room", float(number))
    return log


def test_a_reader_gets_what_came_after_its_cursor() -> None:
    log = log_with(3)
    batch = log.read_after(1)
    assert [entry.event for entry in batch.events] == ["e1", "e2"]
    assert (batch.missed, batch.cursor) == (0, 3)
    assert log.read_after(batch.cursor).events == ()


def test_a_reader_that_fell_behind_is_told_how_much_it_missed() -> None:
    log = log_with(25)
    batch = log.read_after(5)
    assert (batch.missed, batch.events[0].sequence, len(batch.events)) == (10, 16, 10)


@settings(max_examples=100)
@given(st.integers(0, 60), st.integers(1, 20), st.integers(1, 7), st.integers(0, 60))
def test_reading_on_and_on_gives_each_event_once_or_counts_it_as_missed(
    count: int, capacity: int, limit: int, start: int
) -> None:
    log = log_with(count, capacity)
    cursor = min(start, count)
    seen = missed = 0
    while True:
        batch = log.read_after(cursor, limit)
        missed += batch.missed
        assert batch.cursor >= cursor
        cursor = batch.cursor
        if not batch.events:
            break
        sequences = [entry.sequence for entry in batch.events]
        assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
        seen += len(sequences)
    assert seen + missed == count - min(start, count)
    assert seen <= capacity


def test_ids_of_another_run_or_of_nobody_mean_nothing() -> None:
    log = log_with(5)
    entry = log.read_after(3).events[0]
    assert log.cursor_of(log.event_id(entry)) == 4
    assert log.cursor_of("other-4") is None
    assert log.cursor_of("boot-99") == 5
    for odd in ("", "boot", "boot-", "boot--4", "boot-x", "boot-٤", "boot-" + "9" * 5000):
        assert log.cursor_of(odd) is None


def test_listeners_are_woken_until_they_leave() -> None:
    log = EventLog("boot")
    woken: list[int] = []
    leave = log.add_listener(lambda: woken.append(1))
    log.append("a", "", 0.0)
    leave()
    log.append("b", "", 0.0)
    assert woken == [1]
