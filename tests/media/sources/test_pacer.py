"""The pacer: what is due, what is late, what is one frame too many."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.sources.pacer import (
    AUDIO_LATE_LIMIT_S,
    AUDIO_LEAD_S,
    LATE_PICTURE_EVERY_S,
    LEAVE_OUT_AHEAD_S,
    LEAVE_OUT_EVERY_S,
    VIDEO_LATE_LIMIT_S,
    Drop,
    Pacer,
    Send,
    Wait,
)


def test_waits_until_due_then_sends_with_the_time_it_was_due() -> None:
    pacer = Pacer(start=100.0)
    early = pacer.decide(0.4, 100.1)
    assert isinstance(early, Wait)
    assert abs(early.delay_s - 0.3) < 1e-9
    assert pacer.decide(0.4, 100.41) == Send(100.4)
    assert (pacer.sent, pacer.dropped_late) == (1, 0)


def test_late_pictures_are_dropped_and_counted_and_later_ones_are_on_time_again() -> None:
    pacer = Pacer(start=0.0, late_limit_s=0.08)
    stalled_until = 1.0
    decisions = [pacer.decide(number / 25, stalled_until) for number in range(26)]
    dropped = [decision for decision in decisions if decision == Drop(late=True)]
    assert len(dropped) == pacer.dropped_late == 23
    assert decisions[-1] == Send(1.0)


def test_sound_is_handed_over_ahead_and_never_late() -> None:
    pacer = Pacer(start=10.0, lead_s=AUDIO_LEAD_S, late_limit_s=AUDIO_LATE_LIMIT_S)
    burst = [pacer.decide(chunk * 0.02, 10.0) for chunk in range(6)]
    assert [type(decision) for decision in burst] == [Send, Send, Send, Send, Send, Wait]
    assert pacer.decide(0.1, 10.2) == Drop(late=True)


@given(
    source_fps=st.sampled_from([15.0, 25.0, 30000 / 1001, 30.0, 50.0, 60.0]),
    max_fps=st.sampled_from([5.0, 15.0, 25.0, 30.0]),
)
@settings(max_examples=40)
def test_thinning_gives_the_asked_rate_or_the_source_rate(source_fps: float, max_fps: float) -> None:
    pacer = Pacer(start=0.0, max_fps=max_fps)
    seconds = 20
    for number in range(int(source_fps * seconds)):
        pacer.decide(number / source_fps, number / source_fps)
    expected = min(source_fps, max_fps) * seconds
    assert abs(pacer.sent - expected) <= 0.02 * expected + 1
    assert pacer.dropped_late == 0


@given(
    stalls=st.lists(st.floats(min_value=0, max_value=0.5), min_size=1, max_size=40),
)
@settings(max_examples=50)
def test_audio_and_video_stay_together_whatever_the_stalls(stalls: list[float]) -> None:
    video = Pacer(start=0.0)
    audio = Pacer(start=0.0, lead_s=AUDIO_LEAD_S, late_limit_s=AUDIO_LATE_LIMIT_S)
    now = 0.0
    for stall in stalls:
        now += stall
        for number in range(int(now * 25) + 5):
            decision = video.decide(number / 25, now)
            if isinstance(decision, Send):
                assert abs(decision.capture_time - now) <= 0.08 + 1e-9
        for chunk in range(int(now * 50) + 10):
            decision = audio.decide(chunk / 50, now)
            if isinstance(decision, Send):
                assert -AUDIO_LATE_LIMIT_S - 1e-9 <= decision.capture_time - now <= AUDIO_LEAD_S + 1e-9


class Played:
    """A minute of a file of 60 frames a second that is decoded at `decoded_fps`; each `group_s` has a key frame.

    `sent` has for each picture sent when that was, what it showed and what time it was sent with. With `group_s` None
    nothing can be left out.
    """

    def __init__(self, decoded_fps: float, group_s: float | None, *, max_fps: float | None = None) -> None:
        pacer = Pacer(start=0.0, max_fps=max_fps, late_every_s=LATE_PICTURE_EVERY_S)
        self.sent: list[tuple[float, float, float]] = []
        now = pts_s = 0.0
        while now < 60.0:
            now += 1 / decoded_fps
            decision = pacer.decide(pts_s, now)
            if isinstance(decision, Wait):
                now += decision.delay_s
                decision = pacer.decide(pts_s, now)
            if isinstance(decision, Send):
                self.sent.append((now, pts_s, decision.capture_time))
            pts_s += 1 / 60
            if not isinstance(decision, Wait) and decision.leave_out_before_s is not None:
                if group_s is not None:
                    pts_s = max(pts_s, decision.leave_out_before_s // group_s * group_s)
                now += 0.01
                pacer.left_out(now)

    @property
    def late_s(self) -> list[float]:
        return [now - pts_s for now, pts_s, _ in self.sent]


@pytest.mark.parametrize("decoded_fps", [2.0, 4.0, 17.5, 40.0, 55.0])
@pytest.mark.parametrize("group_s", [None, 1.0, 10.0])
def test_a_source_that_is_too_slow_gives_fewer_pictures_and_not_none(decoded_fps: float, group_s: float | None) -> None:
    played = Played(decoded_fps, group_s)
    times = [now for now, _, _ in played.sent]
    gaps = [after - before for before, after in pairwise([0.0, *times, 60.0])]
    assert max(gaps) <= LATE_PICTURE_EVERY_S + 2 / decoded_fps + 0.02
    captured = [capture_time for _, _, capture_time in played.sent]
    assert captured == sorted(captured)
    assert all(now - capture_time <= VIDEO_LATE_LIMIT_S + 1e-9 for now, _, capture_time in played.sent)


@pytest.mark.parametrize("decoded_fps", [4.0, 17.5, 40.0, 55.0])
@pytest.mark.parametrize("group_s", [1.0, 2.0, 10.0])
def test_its_pictures_find_back_to_the_sound_with_each_key_frame(decoded_fps: float, group_s: float) -> None:
    played = Played(decoded_fps, group_s)
    slack_s = LEAVE_OUT_EVERY_S + LATE_PICTURE_EVERY_S + 3 / decoded_fps
    assert max(played.late_s) <= group_s + slack_s
    for begin_s in range(10, 50, 10):
        later = [now - pts_s for now, pts_s, _ in played.sent if now >= begin_s]
        assert min(later) <= slack_s


def test_where_all_can_be_left_out_most_pictures_are_on_time() -> None:
    played = Played(40.0, 1 / 60)
    on_time = sum(late_s <= VIDEO_LATE_LIMIT_S + 1e-9 for late_s in played.late_s)
    assert on_time > 0.8 * len(played.sent)
    assert len(played.sent) > 0.4 * 40 * 60


def test_what_is_sent_late_is_no_more_than_was_asked_for() -> None:
    assert len(Played(17.5, None, max_fps=1.0).sent) <= 60 * 17.5 / 60 + 2


def test_after_a_hiccup_nothing_is_sent_late() -> None:
    pacer = Pacer(start=0.0, late_every_s=LATE_PICTURE_EVERY_S)
    assert pacer.decide(0.0, 0.0) == Send(0.0)
    decisions = [pacer.decide(number / 25, 3.0 + number * 0.001) for number in range(1, 77)]
    drops = [decision for decision in decisions if isinstance(decision, Drop)]
    assert len(drops) == pacer.dropped_late == 74
    assert drops[0].leave_out_before_s == pytest.approx(3.001 + LEAVE_OUT_AHEAD_S)
    assert isinstance(decisions[-1], Send)


def test_sound_is_never_sent_late_and_nothing_of_it_left_out() -> None:
    pacer = Pacer(start=0.0, lead_s=AUDIO_LEAD_S, late_limit_s=AUDIO_LATE_LIMIT_S)
    assert {pacer.decide(chunk * 0.02, 10.0 + chunk) for chunk in range(100)} == {Drop(late=True)}
