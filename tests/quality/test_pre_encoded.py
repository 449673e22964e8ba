"""Which frames of a video that is encoded already are sent: all, less where the way out is narrow, and all again."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from quality import pre_encoded
from quality.pre_encoded import Frame, Mode, PreEncodedState, Told

FPS, GROUP = 25, 50
KEY = Frame(10_000, key=True)
DELTA = Frame(7_000)
DROPPABLE = Frame(7_000, droppable=True)
SOURCE_BPS = (KEY.size_bytes + 49 * DELTA.size_bytes) * 8 / 2


@dataclass
class Run:
    """A source of 25 frames a second, every other one droppable where `layered`, and what was sent of it."""

    layered: bool = False
    group: int = GROUP
    state: PreEncodedState = field(default_factory=PreEncodedState)
    number: int = 0
    told: list[tuple[float, Told]] = field(default_factory=list)
    sent: list[tuple[int, Frame]] = field(default_factory=list)

    def frame(self) -> Frame:
        if self.number % self.group == 0:
            return KEY
        return DROPPABLE if self.layered and self.number % 2 else DELTA

    def go(self, seconds: float, target_bps: float | None, *, asked: bool = False, drops: bool = False) -> "Run":
        for index in range(round(seconds * FPS)):
            now = self.number / FPS
            self.state, told = pre_encoded.feedback(
                self.state, now, target_bps=target_bps, key_frame_requested=asked and index == 0
            )
            self.told += [(now, each) for each in told]
            if drops and index % FPS == 0 and self.state.mode is Mode.ALL:
                self.state, told = pre_encoded.encoder_dropped(self.state, now)
                self.told += [(now, each) for each in told]
            frame = self.frame()
            self.state, admitted = pre_encoded.admit(self.state, frame, now)
            if admitted:
                self.sent.append((self.number, frame))
            self.number += 1
        return self

    def words(self) -> list[Told]:
        return [each for _, each in self.told]


def test_what_fits_goes_whole() -> None:
    run = Run().go(60, 2 * SOURCE_BPS)
    assert len(run.sent) == 60 * FPS
    assert run.told == []


def test_while_the_estimate_comes_up_all_is_sent() -> None:
    run = Run().go(9, 300_000).go(30, 2 * SOURCE_BPS)
    assert (len(run.sent), run.told) == (39 * FPS, [])


def test_frames_that_nothing_refers_to_go_first() -> None:
    run = Run(layered=True).go(15, 2 * SOURCE_BPS).go(24, 0.55 * SOURCE_BPS)
    assert run.words() == [Told.REFERENCES_ONLY]
    assert not any(frame.droppable for _, frame in run.sent[-50:])
    assert sum(not frame.key for _, frame in run.sent[-50:]) > 40


def test_else_key_frames_alone_and_all_again_after_a_while_from_a_key_frame_on() -> None:
    run = Run().go(15, 2 * SOURCE_BPS).go(22, 0.4 * SOURCE_BPS)
    assert run.words() == [Told.KEY_FRAMES_ONLY]
    run.sent.clear()
    run.go(4, 0.4 * SOURCE_BPS)
    assert all(frame.key for _, frame in run.sent)
    run.go(20, 2 * SOURCE_BPS)
    assert run.words()[1:] == [Told.ALL_AGAIN]
    assert len(run.sent) > 15 * FPS


def test_dropped_frames_show_at_once_that_it_is_too_much() -> None:
    run = Run().go(15, 2 * SOURCE_BPS).go(2, 0.4 * SOURCE_BPS, drops=True)
    assert run.words() == [Told.KEY_FRAMES_ONLY]


def test_where_it_is_published_anew_the_estimate_has_as_long_again_to_come_up() -> None:
    run = Run().go(121, 2 * SOURCE_BPS).go(10, SOURCE_BPS / 2)
    run.state = pre_encoded.begun_anew(run.state)
    run.sent.clear()
    run.go(9, 300_000, drops=True).go(10, SOURCE_BPS / 2).go(30, 2 * SOURCE_BPS)
    assert run.sent[0][1].key
    assert run.told == []


def test_where_all_is_sent_again_too_the_estimate_has_time_to_come_up_from_the_key_frame_on() -> None:
    run = Run(group=10 * FPS).go(21, 2 * SOURCE_BPS).go(2, 300_000, drops=True)
    assert run.words() == [Told.KEY_FRAMES_ONLY]
    run.go(26, 300_000, drops=True)
    ((again, word),) = run.told[1:]
    assert (word, run.state.all_since) == (Told.ALL_AGAIN, 40.0)
    assert again < 33, "seven seconds before the key frame"
    run.go(22, 2 * SOURCE_BPS)
    assert run.words() == [Told.KEY_FRAMES_ONLY, Told.ALL_AGAIN]


def test_a_rate_that_cannot_be_obeyed_is_told_once_and_tries_become_rarer() -> None:
    run = Run().go(15, 2 * SOURCE_BPS).go(600, 20_000.0, drops=True)
    assert Told.RATE_NOT_OBEYED in run.words()
    tries = [at for at, each in run.told if each is Told.ALL_AGAIN]
    assert len(tries) <= 10
    assert tries[-1] - tries[-2] >= 100


def test_a_request_for_a_key_frame_is_answered_by_the_next_and_told_where_that_is_late() -> None:
    run = Run().go(15, 2 * SOURCE_BPS).go(0.2, 2 * SOURCE_BPS).go(5, 2 * SOURCE_BPS, asked=True)
    assert run.words() == [Told.KEY_FRAME_REQUESTED]
    rare = Run()
    rare.number = 1
    rare.state = pre_encoded.admit(rare.state, KEY, 0.0)[0]
    run = rare
    run.go(0.5, 2 * SOURCE_BPS)
    state, told = pre_encoded.feedback(run.state, 10.0, key_frame_requested=True)
    assert told == (Told.KEY_FRAME_REQUESTED,)
    assert pre_encoded.feedback(state, 12.5)[1] == (Told.KEY_FRAME_LATE,)
    assert pre_encoded.feedback(pre_encoded.feedback(state, 12.5)[0], 13.5)[1] == ()


def test_after_what_is_missing_nothing_goes_before_a_key_frame() -> None:
    run = Run().go(3, None)
    run.state = pre_encoded.broken(run.state)
    run.sent.clear()
    run.go(3, None)
    assert run.sent[0][1].key


def test_what_was_over_the_target_before_a_mute_is_not_after_it() -> None:
    run = Run().go(20, 2 * SOURCE_BPS).go(10, SOURCE_BPS / 2, asked=True)
    assert run.words() == [Told.KEY_FRAME_REQUESTED], "over for half as long as counts"
    run.state = pre_encoded.muted(run.state)
    run.number += 60 * FPS
    run.go(15, SOURCE_BPS / 2)
    assert run.words() == [Told.KEY_FRAME_REQUESTED]
    assert run.state.mode is Mode.ALL


@given(
    st.booleans(),
    st.lists(
        st.tuples(st.floats(min_value=0.5, max_value=30), st.floats(min_value=0, max_value=3e6), st.booleans()),
        max_size=8,
    ),
)
@settings(max_examples=25, deadline=None)
def test_what_is_sent_can_always_be_decoded(layered: bool, phases: list[tuple[float, float, bool]]) -> None:
    run = Run(layered=layered)
    for seconds, target_bps, drops in phases:
        run.go(seconds, target_bps, drops=drops)
    sent = dict(run.sent)
    for number, frame in run.sent:
        if frame.key:
            continue
        group = number - number % GROUP
        needed = [each for each in range(group, number) if not (layered and each % GROUP and each % 2)]
        assert all(each in sent for each in needed), "a frame whose reference is missing"
