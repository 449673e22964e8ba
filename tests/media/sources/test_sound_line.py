"""Where sound goes that its times put elsewhere than the count of its samples does."""

import numpy as np
import pytest

from media.sources.sound_line import SoundLine
from media.sources.source import AudioFormat, DecodedAudio

BLOCK_S = 0.02
STEREO = AudioFormat(48_000, 2)


def played(*times_s: float | None, length_s: float = 0.0, audio: AudioFormat = STEREO) -> list[DecodedAudio]:
    """Blocks of 20 ms at `times_s`, whose samples are all their number from 1 on."""
    line = SoundLine(audio, length_s)
    chunks: list[DecodedAudio] = []
    for number, time_s in enumerate(times_s, 1):
        chunks += line.jump(line.jump_s(time_s, BLOCK_S))
        chunks += line.add(np.full(960 * audio.channels, number, np.int16).tobytes())
    return [*chunks, *line.rest()]


def heard(chunks: list[DecodedAudio]) -> list[int]:
    """The number in each 10 ms, from the first on."""
    samples = np.frombuffer(b"".join(chunk.data for chunk in chunks), np.int16)
    return [int(each) for each in samples[240 * STEREO.channels :: 480 * STEREO.channels]]


def test_what_joins_is_counted_also_where_times_are_rounded_or_missing() -> None:
    chunks = played(1.0, 1.019, None, 1.063)
    assert heard(chunks) == [1, 1, 2, 2, 3, 3, 4, 4]
    assert [chunk.pts_s for chunk in chunks] == pytest.approx([1.0, 1.02, 1.04, 1.06])
    assert {chunk.samples for chunk in chunks} == {960}


def test_a_hole_is_silence() -> None:
    chunks = played(0.0, 0.13, 0.15)
    assert heard(chunks) == [1, 1, *([0] * 11), 2, 2, 3, 3]
    assert [chunk.samples for chunk in chunks] == [960] * 8 + [480]
    assert chunks[-1].pts_s == pytest.approx(0.16)


def test_what_overlaps_is_left_out() -> None:
    assert heard(played(0.0, 0.02, 0.04, 0.06, 0.02, 0.04, 0.06, 0.08)) == [1, 1, 2, 2, 3, 3, 4, 4, 8, 8]
    assert heard(played(-0.03, -0.01, 0.01)) == [2, 3, 3]


def test_times_that_begin_anew_are_another_file_behind_the_first() -> None:
    before = [round(number * BLOCK_S, 2) for number in range(60)]
    chunks = played(*before, 0.0, 0.02, 0.14)
    assert heard(chunks)[118:] == [60, 60, 61, 61, 62, 62, *([0] * 10), 63, 63]


def test_a_time_behind_the_end_is_not_believed() -> None:
    assert heard(played(0.0, 5000.0, 5000.02, 0.06, length_s=0.08)) == [1, 1, 2, 2, 3, 3, 4, 4]
    assert len(heard(played(0.0, 1.0, length_s=1.02))) == 102
