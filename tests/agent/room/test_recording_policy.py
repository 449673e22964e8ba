"""When recordings begin, pause and end by themselves: traces of a room, second by second, without an event loop."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import InvalidSettings
from agent.room.recording_plan import EndedReason, LayerPolicy, RecordingPlan, RecordWhen, StopConditions
from agent.room.recording_policy import (
    DECIDED,
    Begin,
    End,
    Pause,
    PolicyAction,
    PolicyState,
    RecordingSnapshot,
    Unpause,
    step,
)
from agent.room.room_metadata import RecordWish, record_wish

BUSY = RecordingSnapshot(recording=True, participants=2, published=2, unmuted=2, heard=True)


def trace(
    plan: RecordingPlan, seconds: Iterable[RecordingSnapshot], state: PolicyState | None = None
) -> list[tuple[int, PolicyAction]]:
    """What the policy does of a room that is so in each second, and when; it remembers `state` at first."""
    state, done = state or PolicyState(), []
    for second, seen in enumerate(seconds):
        state, action = step(plan, state, 1000.0 + second, seen)
        if action is not None:
            done.append((second, action))
    return done


def busy(seconds: int, **changes: object) -> list[RecordingSnapshot]:
    """Seconds in which packets come."""
    return [replace(BUSY, packets=100 * (second + 1), **changes) for second in range(seconds)]  # type: ignore[arg-type]  # any field


CONDITIONS = [
    (EndedReason.EMPTY, StopConditions(empty_s=5), {"participants": 0}),
    (EndedReason.SILENT, StopConditions(silent_s=5), {"heard": False}),
    (EndedReason.MUTED, StopConditions(muted_s=5), {"unmuted": 0}),
]


@pytest.mark.parametrize(("reason", "stop", "so"), CONDITIONS)
def test_a_condition_ends_the_recording_once_it_held_long_enough(
    reason: EndedReason, stop: StopConditions, so: dict[str, object]
) -> None:
    plan = RecordingPlan(stop=stop)
    assert trace(plan, [*busy(3), *busy(6, **so)]) == [(8, End(reason))]
    assert trace(plan, [*busy(3), *busy(5, **so), *busy(20)]) == []
    assert trace(plan, [*busy(3, **so), *busy(1), *busy(5, **so)]) == [], "a break begins the time anew"
    assert trace(RecordingPlan(), busy(100, **so)) == [], "who asks for no end gets none"


@pytest.mark.parametrize(("reason", "stop", "so"), CONDITIONS)
def test_the_time_before_the_recording_does_not_count(
    reason: EndedReason, stop: StopConditions, so: dict[str, object]
) -> None:
    before = [replace(item, recording=False) for item in busy(30, **so)]
    assert trace(RecordingPlan(stop=stop), [*before, *busy(6, **so)]) == [(35, End(reason))]


@pytest.mark.parametrize(("reason", "stop", "so"), CONDITIONS)
def test_while_we_are_cut_off_no_time_counts(reason: EndedReason, stop: StopConditions, so: dict[str, object]) -> None:
    away = [RecordingSnapshot(connected=False, recording=True)] * 60
    seconds = [*busy(1), *busy(3, **so), *away, *busy(3, **so)]
    assert trace(RecordingPlan(stop=stop), seconds) == [(66, End(reason))]


@pytest.mark.parametrize(("reason", "stop", "so"), CONDITIONS)
def test_a_recording_does_not_inherit_the_time_of_the_one_before(
    reason: EndedReason, stop: StopConditions, so: dict[str, object]
) -> None:
    first, second = busy(8, recording_id="one", **so), busy(6, recording_id="two", **so)
    plan = RecordingPlan(stop=stop)
    assert trace(plan, [*first[:4], *second]) == [(9, End(reason))]
    # Ended by itself, and gone on with by hand before the next look.
    assert trace(plan, [*first[:6], *first[:6]]) == [(5, End(reason)), (11, End(reason))]


def test_duration_and_size_end_a_recording_also_while_we_are_cut_off() -> None:
    away = RecordingSnapshot(connected=False, recording=True, recorded_s=99, size_bytes=99)
    assert trace(RecordingPlan(stop=StopConditions(duration_s=100)), [away]) == []
    assert trace(RecordingPlan(stop=StopConditions(duration_s=99)), [away]) == [(0, End(EndedReason.DURATION))]
    assert trace(RecordingPlan(stop=StopConditions(size_bytes=99)), [away]) == [(0, End(EndedReason.SIZE))]
    assert trace(RecordingPlan(stop=StopConditions(size_bytes=99)), [replace(away, recording=False)]) == []


def test_what_people_decided_stands_where_a_recording_is_gone_on_with() -> None:
    plan = RecordingPlan(when=RecordWhen.METADATA)
    away = RecordingSnapshot(connected=False, recording=True)
    held = RecordingSnapshot(recording=True, paused=True, wish=RecordWish.RECORD)
    running = RecordingSnapshot(recording=True, wish=RecordWish.PAUSED)
    off = replace(running, wish=RecordWish.OFF)
    assert trace(plan, [away, held, held], DECIDED) == [], "paused by hand, though the metadata say otherwise"
    assert trace(plan, [running, running], DECIDED) == [], "and gone on with"
    assert trace(plan, [off, off], DECIDED) == [], "and begun"
    assert trace(plan, [held, off], DECIDED) == [(1, End(EndedReason.METADATA))], "they count when they change"
    # Ended by hand right after: nothing new was published.
    published = replace(BUSY, recording=False)
    assert trace(RecordingPlan(when=RecordWhen.PUBLISHED), [published], DECIDED) == []


def test_media_that_stop_coming_end_the_recording() -> None:
    plan = RecordingPlan(stop=StopConditions(no_media_s=4))
    stalled = [replace(BUSY, packets=300)] * 20
    assert trace(plan, [*busy(3), *stalled])[0] == (7, End(EndedReason.NO_MEDIA))
    assert trace(plan, busy(100)) == []


def test_nobody_who_publishes_is_not_everybody_muted() -> None:
    assert trace(RecordingPlan(stop=StopConditions(muted_s=2)), busy(60, published=0, unmuted=0)) == []


def test_in_a_pause_only_an_empty_room_counts() -> None:
    stop = StopConditions(empty_s=50, silent_s=2, muted_s=2, no_media_s=2)
    quiet = RecordingSnapshot(recording=True, paused=True, published=2)
    assert trace(RecordingPlan(stop=stop), [quiet] * 51)[0] == (50, End(EndedReason.EMPTY))
    after = replace(quiet, paused=False, participants=1)
    assert trace(RecordingPlan(stop=stop), [*[replace(quiet, participants=1)] * 20, *[after] * 3]) == [
        (22, End(EndedReason.MUTED))
    ]


def test_duration_and_size_end_the_recording() -> None:
    plan = RecordingPlan(stop=StopConditions(duration_s=3, size_bytes=1000))
    long = [replace(item, recorded_s=second) for second, item in enumerate(busy(5))]
    large = [replace(item, size_bytes=400 * second) for second, item in enumerate(busy(4))]
    assert trace(plan, long)[0] == (3, End(EndedReason.DURATION))
    assert trace(plan, large)[0] == (3, End(EndedReason.SIZE))


def test_the_first_publication_begins_a_recording_and_so_does_the_first_after_there_was_none() -> None:
    plan = RecordingPlan(when=RecordWhen.PUBLISHED)
    idle = RecordingSnapshot(participants=1)
    published = replace(idle, published=1)
    recording = replace(published, recording=True)
    assert trace(plan, [idle, idle, published, recording]) == [(2, Begin())]
    assert trace(plan, [published]) == [(0, Begin())], "published before we came"
    # Ended by hand, with the track still there; then it goes, and another one comes.
    assert trace(plan, [published, recording, published, published, idle, published]) == [(0, Begin()), (5, Begin())]
    assert trace(RecordingPlan(), [idle, published, published]) == []


def test_a_publication_that_is_new_to_us_after_a_cut_begins_nothing_twice() -> None:
    plan = RecordingPlan(when=RecordWhen.PUBLISHED)
    published = RecordingSnapshot(participants=1, published=1)
    away = RecordingSnapshot(connected=False)
    assert trace(plan, [published, away, published]) == [(0, Begin())]


def test_the_rooms_metadata_count_when_they_change() -> None:
    plan = RecordingPlan(when=RecordWhen.METADATA)
    off = RecordingSnapshot(wish=RecordWish.OFF)
    on = RecordingSnapshot(wish=RecordWish.RECORD)
    running = replace(on, recording=True)
    held = RecordingSnapshot(wish=RecordWish.PAUSED, recording=True)
    assert trace(plan, [RecordingSnapshot(), on, running, off, replace(off, recording=False)]) == [(1, Begin())]
    assert trace(plan, [on, running, replace(off, recording=True), off]) == [
        (0, Begin()),
        (2, End(EndedReason.METADATA)),
    ]
    assert trace(plan, [on, running, held, replace(held, paused=True), replace(running, paused=True)]) == [
        (0, Begin()),
        (2, Pause()),
        (4, Unpause()),
    ]
    assert trace(plan, [RecordingSnapshot(wish=RecordWish.PAUSED)]) == [(0, Begin(paused=True))]
    # Stopped by hand: obeyed until the metadata change; that they are gone ends nothing.
    assert trace(plan, [on, running, on, on]) == [(0, Begin())]
    assert trace(plan, [on, running, replace(running, wish=None)]) == [(0, Begin())]
    assert trace(RecordingPlan(), [off, on]) == [], "who does not follow them does not"


@pytest.mark.parametrize(
    ("metadata", "wish"),
    [
        ("", None),
        ("not JSON", None),
        ("[1]", None),
        ('{"other": {"record": true}}', None),
        ('{"roomhand": {}}', None),
        ('{"roomhand": {"record": null}}', None),
        ('{"roomhand": {"record": true}}', RecordWish.RECORD),
        ('{"roomhand": {"record": false}, "other": 1}', RecordWish.OFF),
        ('{"roomhand": {"record": "paused"}}', RecordWish.PAUSED),
        ('{"roomhand": ' + "[" * 100_000, None),
    ],
)
def test_metadata_are_read(metadata: str, wish: RecordWish | None) -> None:
    assert record_wish(metadata) is wish


@pytest.mark.parametrize(
    "metadata",
    [
        '{"roomhand": true}',
        '{"roomhand": {"record": "yes"}}',
        '{"roomhand": {"record": 1}}',
        '{"roomhand": {"record": true, "export": true}}',
        '{"roomhand": ' + "[" * 500 + "]" * 500 + "}",
    ],
)
def test_metadata_that_make_no_sense_are_refused(metadata: str) -> None:
    with pytest.raises(InvalidSettings, match="room's metadata") as refused:
        record_wish(metadata)
    assert len(str(refused.value)) < 200, "what others wrote, by the megabyte, is for no log"


@pytest.mark.parametrize("name", ["empty_s", "silent_s", "muted_s", "no_media_s", "duration_s", "size_bytes"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_bounds_are_positive(name: str, value: float) -> None:
    with pytest.raises(InvalidSettings, match=name):
        StopConditions(**{name: value})  # type: ignore[arg-type]  # any of them
    with pytest.raises(InvalidSettings, match="budget"):
        LayerPolicy(budget_bps=0)


SNAPSHOTS = st.builds(
    RecordingSnapshot,
    connected=st.booleans(),
    paused=st.booleans(),
    participants=st.integers(0, 2),
    published=st.integers(0, 2),
    unmuted=st.integers(0, 2),
    heard=st.booleans(),
    packets=st.integers(0, 3),
    recorded_s=st.floats(0, 20),
    size_bytes=st.integers(0, 20),
    wish=st.sampled_from([None, *RecordWish]),
)
PLANS = st.builds(
    RecordingPlan,
    when=st.sampled_from(RecordWhen),
    stop=st.builds(
        StopConditions,
        empty_s=st.none() | st.integers(1, 5),
        silent_s=st.none() | st.integers(1, 5),
        muted_s=st.none() | st.integers(1, 5),
        no_media_s=st.none() | st.integers(1, 5),
        duration_s=st.none() | st.integers(1, 15),
        size_bytes=st.none() | st.integers(1, 15),
    ),
)


@given(PLANS, st.lists(st.tuples(SNAPSHOTS, st.floats(0, 3)), max_size=40))
def test_whatever_comes_each_action_fits_the_state_it_is_for(
    plan: RecordingPlan, seconds: list[tuple[RecordingSnapshot, float]]
) -> None:
    state, now, recording = PolicyState(), 0.0, False
    for seen, passed_s in seconds:
        now += passed_s
        so = replace(seen, recording=recording, paused=seen.paused and recording)
        state, action = step(plan, state, now, so)
        if isinstance(action, Begin):
            assert not recording
            assert plan.when is not RecordWhen.NOW
            recording = True
        elif isinstance(action, End):
            assert recording
            recording = False
        elif action is not None:
            assert recording
            assert so.paused == isinstance(action, Unpause)
        assert so.connected or action in {None, End(EndedReason.DURATION), End(EndedReason.SIZE)}
