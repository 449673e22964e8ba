"""The pacer: what is due, what is late, what is one frame too many."""

from hypothesis import given, settings
from hypothesis import strategies as st

from media.sources.pacer import AUDIO_LATE_LIMIT_S, AUDIO_LEAD_S, Drop, Pacer, Send, Wait


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
