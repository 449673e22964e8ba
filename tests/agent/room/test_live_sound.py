"""The sound of a live source: nothing is lost, nothing drifts, silence is filled in."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import InvalidSettings
from agent.room.live_sound import CAPACITY_S, GRACE_S, Samples, SoundQueue, check_format, checked_samples
from media.sources.pacer import Wait
from media.sources.source import AudioFormat, DecodedAudio

MONO = AudioFormat(8_000, 1)
CHUNK = 160


def ramp(first: int, count: int, channels: int = 1) -> Samples:
    """Samples that say which ones they are, from 1 on."""
    numbers = (np.arange(first, first + count) % 30_000 + 1).astype(np.int16)
    return np.repeat(numbers[:, np.newaxis], channels, axis=1)


def heard(chunks: list[DecodedAudio]) -> list[int]:
    """All that is no silence."""
    return [int(value) for chunk in chunks for value in np.frombuffer(chunk.data, np.int16) if value]


class Clock:
    """A publisher that takes chunks as their time comes, and steps the time meanwhile."""

    def __init__(self, queue: SoundQueue) -> None:
        self.queue = queue
        self.now = 0.0
        self.chunks: list[DecodedAudio] = []

    def run(self, until: float) -> None:
        while self.now < until:
            taken = self.queue.take(self.now)
            if isinstance(taken, DecodedAudio):
                self.chunks.append(taken)
                self.now = max(self.now, taken.pts_s + 0.02)  # the pacer's: a chunk ahead
            else:
                assert isinstance(taken, Wait)
                self.now = min(until, self.now + max(taken.delay_s, 1e-6))


def test_silence_comes_at_the_pace_of_the_clock_and_not_before_its_time() -> None:
    clock = Clock(SoundQueue(MONO))
    clock.run(60.0)
    assert len(clock.chunks) == pytest.approx(60 / 0.02, abs=5)
    assert heard(clock.chunks) == []
    waited = clock.queue.take(clock.chunks[-1].pts_s + 0.02)
    assert isinstance(waited, Wait)
    assert waited.delay_s == pytest.approx(GRACE_S)


def test_after_a_minute_of_silence_sound_comes_at_once() -> None:
    clock = Clock(SoundQueue(MONO))
    clock.run(60.0)
    clock.queue.push(ramp(0, CHUNK), 60.0)
    taken = clock.queue.take(60.0)
    assert isinstance(taken, DecodedAudio)
    assert taken.pts_s == pytest.approx(60.0, abs=0.021)
    assert heard([taken])[0] == 1


def test_what_is_pushed_a_little_late_each_time_has_no_gap() -> None:
    clock = Clock(SoundQueue(MONO))
    clock.run(1.0)
    for number in range(50):
        at = 1.0 + number * 0.02 + (0.015 if number % 3 else 0.0)
        clock.run(at)
        clock.now = max(clock.now, at)
        clock.queue.push(ramp(number * CHUNK, CHUNK), at)
    clock.run(3.0)
    spoken = [chunk for chunk in clock.chunks if heard([chunk])]
    assert [np.frombuffer(chunk.data, np.int16)[0] for chunk in spoken] == [1 + n * CHUNK for n in range(50)]
    assert np.allclose(np.diff([chunk.pts_s for chunk in spoken]), 0.02)


def test_sound_that_was_not_taken_in_time_comes_later_and_whole() -> None:
    clock = Clock(SoundQueue(MONO))
    clock.queue.push(ramp(0, 8_000), 0.0)
    clock.run(0.5)
    clock.now += 5.0  # the machine stood still
    clock.run(8.0)
    assert heard(clock.chunks) == heard([DecodedAudio(8_000, 1, 8_000, ramp(0, 8_000).tobytes(), 0.0)])
    late = next(chunk for chunk in clock.chunks if chunk.pts_s > 0.6)
    assert late.pts_s == pytest.approx(5.5, abs=0.1)


def test_there_is_room_for_a_second_and_the_rest_is_left_to_the_caller() -> None:
    queue = SoundQueue(MONO)
    assert queue.push(ramp(0, 20_000), 0.0) == CAPACITY_S * 8_000
    assert queue.push(ramp(0, 1), 0.0) == 0
    queue.clear()
    assert queue.passed == queue.pushed == 8_000
    assert queue.push(ramp(0, 1), 0.0) == 1


def test_at_its_end_the_last_samples_come_at_once_and_then_nothing() -> None:
    queue = SoundQueue(MONO)
    queue.push(ramp(0, CHUNK + 10), 0.0)
    chunks = [queue.take(0.0, ended=True), queue.take(0.0, ended=True)]
    assert all(isinstance(chunk, DecodedAudio) for chunk in chunks)
    assert len(heard([chunk for chunk in chunks if isinstance(chunk, DecodedAudio)])) == CHUNK + 10
    assert queue.take(0.0, ended=True) is None


def test_a_mark_is_heard_as_the_sample_after_it_is() -> None:
    queue = SoundQueue(MONO)
    queue.take(1.0)
    queue.push(ramp(0, CHUNK), 1.0)
    mark = queue.pushed
    queue.push(ramp(0, CHUNK), 1.0)
    assert queue.time_of(mark + 1) is None
    first = queue.take(1.0)
    assert isinstance(first, DecodedAudio)
    assert queue.time_of(mark) == pytest.approx(first.pts_s + 0.02)


@given(
    channels=st.sampled_from([1, 2]),
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("push"), st.integers(1, 900)),
            st.tuples(st.just("wait"), st.integers(1, 300)),
            st.tuples(st.just("stall"), st.integers(1, 3_000)),
        ),
        max_size=40,
    ),
)
def test_all_that_is_pushed_is_heard_in_order_and_times_go_on(channels: int, steps: list[tuple[str, int]]) -> None:
    """Whatever is pushed when, and however the machine stalls."""
    clock, pushed = Clock(SoundQueue(AudioFormat(8_000, channels))), 0
    for what, size in steps:
        if what == "push":
            pushed += clock.queue.push(ramp(pushed, size, channels), clock.now)
        elif what == "wait":
            clock.run(clock.now + size / 1000)
        else:
            clock.now += size / 1000
    clock.run(clock.now + CAPACITY_S + 0.5)
    assert heard(clock.chunks) == [int(each) for each in ramp(0, pushed, channels).ravel()]
    times = [chunk.pts_s for chunk in clock.chunks]
    assert all(after - before >= 0.02 - 1e-9 for before, after in pairwise(times))
    assert times[-1] <= clock.now + 0.02
    assert clock.queue.passed == clock.queue.pushed == pushed


@pytest.mark.parametrize(
    ("samples", "channels", "said"),
    [
        (np.zeros(10, np.float32), 1, "float32"),
        (b"\0\0", 1, "bytes"),
        (np.zeros((10, 2), np.int16), 1, r"\(10, 2\)"),
        (np.zeros(10, np.int16), 2, r"\(samples, 2\)"),
        (np.zeros((1, 10, 1), np.int16), 1, "shape"),
    ],
)
def test_sound_of_another_kind_is_refused_with_what_to_give(samples: object, channels: int, said: str) -> None:
    with pytest.raises(InvalidSettings, match=said):
        checked_samples(samples, AudioFormat(8_000, channels))


def test_what_the_caller_changes_afterwards_is_not_heard() -> None:
    samples = np.ones(10, np.int16)
    kept = checked_samples(samples, MONO)
    samples[:] = 0
    assert kept.shape == (10, 1)
    assert kept.all()


@pytest.mark.parametrize("audio", [AudioFormat(22_050), AudioFormat(4_000), AudioFormat(48_000, 6)])
def test_formats_that_cannot_be_sent_are_refused(audio: AudioFormat) -> None:
    with pytest.raises(InvalidSettings, match="give"):
        check_format(audio)
