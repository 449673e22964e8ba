"""Which Opus packets are decoded to hear how loud a track is."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.frames import Codec, EncodedFrame
from media.rtp.depacketise.opus import opus_duration
from media.rtp.sound_sample import INTERVAL, LISTENED, SETTLING, SoundRun, SoundSampler

TEN_MS, TWENTY_MS, SIXTY_MS = 0xF0, 0xF8, 0x18
PAUSE = b"\xf8"


def packet(number: int, toc: int = TWENTY_MS) -> bytes:
    return bytes([toc]) + number.to_bytes(4)


def frames(packets: Iterable[bytes], *, begin: int = 0) -> Iterator[EncodedFrame]:
    """One right after the other."""
    at = begin
    for data in packets:
        yield EncodedFrame(Codec.OPUS, data, at, 0.0, sync_sample=True)
        at += opus_duration(data)


def runs(found: Iterable[EncodedFrame]) -> list[SoundRun]:
    sampler = SoundSampler()
    return [run for frame in found if (run := sampler.take(frame)) is not None]


def numbers(run: SoundRun) -> list[int]:
    return [int.from_bytes(data[1:]) for data in run.packets]


def test_eight_packets_of_45_are_decoded_and_four_of_them_heard() -> None:
    found = runs(frames(packet(number) for number in range(450)))
    assert [numbers(run) for run in found] == [list(range(first, first + 8)) for first in range(0, 450, 45)]
    assert {run.settling for run in found} == {4}


@pytest.mark.parametrize(("toc", "packets", "settling"), [(TEN_MS, 16, 8), (SIXTY_MS, 3, 2)])
def test_packets_of_other_lengths_make_runs_of_the_same_time(toc: int, packets: int, settling: int) -> None:
    run = runs(frames(packet(number, toc) for number in range(50)))[0]
    assert (len(run.packets), run.settling) == (packets, settling)


def test_what_a_loss_tore_is_begun_anew() -> None:
    whole = list(frames(packet(number) for number in range(100)))
    assert numbers(runs(whole[:5] + whole[6:])[0]) == list(range(6, 14))
    told = [replace(each, discontinuity=at == 3) for at, each in enumerate(whole)]
    assert numbers(runs(told)[0]) == list(range(3, 11))


def test_a_pause_is_told_as_often_as_sound_would_be() -> None:
    talk = [packet(number) for number in range(100)]
    found = runs(frames([*talk, *[PAUSE] * 500]))
    assert [run.is_pause for run in found] == [False] * 3 + [True] * 11


def test_lone_packets_between_pauses_are_not_decoded() -> None:
    sampler = SoundSampler()
    told = []
    for at in range(0, 48_000 * 10, 19_200):  # as Opus with DTX does in silence: every 400 ms
        told.append(sampler.take(EncodedFrame(Codec.OPUS, packet(1), at, 0.0, sync_sample=True)))
        told.append(sampler.take(EncodedFrame(Codec.OPUS, PAUSE, at + 960, 0.0, sync_sample=True)))
    assert {run.is_pause for run in told if run is not None} == {True}


def test_nothing_is_told_of_what_is_no_opus() -> None:
    assert runs(EncodedFrame(Codec.OPUS, b"\xfb\x00\x00", at * 960, 0.0, sync_sample=True) for at in range(500)) == []


@given(
    st.lists(
        st.tuples(st.binary(max_size=6), st.integers(0, 3 * INTERVAL), st.booleans(), st.integers(1, 30)), max_size=60
    )
)
def test_whatever_comes_little_is_decoded_and_all_of_it_whole(
    parts: list[tuple[bytes, int, bool, int]],
) -> None:
    sampler, at, decoded = SoundSampler(), 0, 0
    for data, gap, discontinuity, times in parts:
        at += gap
        for _ in range(times):
            run = sampler.take(EncodedFrame(Codec.OPUS, data, at, 0.0, True, discontinuity))
            at += 960
            if run is not None and not run.is_pause:
                lengths = [opus_duration(each) for each in run.packets]
                assert 0 < run.settling < len(lengths)
                assert SETTLING + LISTENED <= sum(lengths) < SETTLING + LISTENED + 5_760
                decoded += 1
    assert decoded <= at // INTERVAL + 1
