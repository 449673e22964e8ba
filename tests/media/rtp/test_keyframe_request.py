"""When a key frame is asked for."""

from itertools import pairwise

from media.rtp.keyframe_request import KeyframeRequester

START = 1_700_000_000.0


def asks(requester: KeyframeRequester, start: float, seconds: float, *, media: bool = True) -> list[float]:
    """Times of asks, in seconds after `start`, polled each 10 ms."""
    times = []
    for index in range(round(seconds * 100)):
        if media:
            requester.media_arrived()
        if requester.poll(start + index / 100):
            times.append(index / 100)
    return times


def test_asks_every_200_ms_until_the_first_sync_sample() -> None:
    requester = KeyframeRequester()
    assert not requester.poll(START)
    requester.start(START)
    assert len(asks(requester, START, 1.05)) in {4, 5}
    requester.sync_sample()
    assert asks(requester, START + 2, 3) == []
    assert requester.deadline is None


def test_the_first_keyframe_gets_200_ms_to_come_by_itself() -> None:
    requester = KeyframeRequester()
    requester.start(START)
    requester.media_arrived()
    assert requester.deadline == START + 0.2
    assert asks(requester, START, 0.2) == []


def test_a_frame_without_a_sync_sample_before_it_makes_it_ask_at_once() -> None:
    requester = KeyframeRequester()
    requester.start(START)
    requester.unusable_frame(START + 0.01)
    requester.media_arrived()
    assert requester.poll(START + 0.01)
    requester.unusable_frame(START + 0.02)
    times = asks(requester, START + 0.02, 1)
    assert 4 <= len(times) <= 5
    assert times[0] >= 0.18


def test_losses_are_answered_once_a_second_at_most() -> None:
    requester = KeyframeRequester()
    requester.start(START)
    requester.sync_sample()
    times = []
    for index in range(500):
        now = START + 10 + index / 100
        requester.media_arrived()
        requester.broken_frame(now)
        if index % 30 == 29:
            requester.sync_sample()
        if requester.poll(now):
            times.append(now)
    gaps = [after - before for before, after in pairwise(times)]
    assert times[0] == START + 10
    assert min(gaps) >= 0.999
    assert len(times) >= 4


def test_asks_again_after_a_second_while_no_sync_sample_comes() -> None:
    requester = KeyframeRequester()
    requester.start(START)
    requester.sync_sample()
    requester.broken_frame(START + 1)
    assert len(asks(requester, START + 1, 3.5)) == 4


def test_while_a_sync_sample_comes_it_is_not_asked_for() -> None:
    requester = KeyframeRequester()
    requester.sync_sample_started(START)
    assert requester.deadline is None
    requester.start(START)
    requester.sync_sample_started(START + 0.1)
    assert asks(requester, START + 0.1, 1) == []
    assert requester.poll(START + 1.11)


def test_after_a_loss_another_start_asks_every_200_ms_again() -> None:
    requester = KeyframeRequester()
    requester.broken_frame(START)
    assert asks(requester, START, 0.05) == [0.0]
    requester.start(START + 1)
    assert len(asks(requester, START + 1, 1.05)) in {4, 5}
    requester.sync_sample()
    requester.broken_frame(START + 10)
    requester.unusable_frame(START + 10)
    assert len(asks(requester, START + 10, 1.05)) in {5, 6}


def test_a_silent_sender_is_not_asked_again() -> None:
    requester = KeyframeRequester()
    requester.start(START)
    requester.media_arrived()
    assert requester.poll(START + 0.3)
    assert asks(requester, START + 0.3, 5, media=False) == []
    assert requester.deadline is None
    requester.media_arrived()
    assert requester.poll(START + 6)
