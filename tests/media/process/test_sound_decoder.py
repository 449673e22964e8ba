"""What is heard of short runs of real Opus."""

import numpy as np
import pytest
from numpy.typing import NDArray

from media.errors import RtpError
from media.process.sound_decoder import SoundDecoder
from media.rtp.sound_sample import SoundRun
from quality.content import Content
from quality.content_tally import ContentTally
from tests.media.opus_sounds import dither, encode, silence, tone

FIRST = 50  # what the encoder makes of its first second is no matter here


def run_of(packets: tuple[bytes, ...], first: int = FIRST) -> SoundRun:
    return SoundRun(packets[first : first + 8], 4)


def said(decoded: list[NDArray[np.int16]]) -> Content:
    """What all of it together is as one stretch of sound."""
    tally = ContentTally()
    tally.add_sound(np.concatenate(decoded))
    return tally.counts.content


def heard(samples: NDArray[np.int16], *, stereo: bool = False) -> Content:
    return said(SoundDecoder().decode(run_of(encode(samples, stereo=stereo))))


@pytest.mark.parametrize("stereo", [False, True])
def test_a_tone_has_its_level(stereo: bool) -> None:
    found = heard(tone(2), stereo=stereo)
    assert found.level_dbfs == pytest.approx(-15.3, abs=0.7)  # 8,000 of 32,768, and a sine's 3 dB
    assert found.clipped_ratio == 0.0


def test_what_was_clipped_before_it_was_encoded_is_still_clipped() -> None:
    assert (heard(tone(2, 60_000)).clipped_ratio or 0.0) > 0.1
    assert heard(tone(2, 30_000)).clipped_ratio == 0.0


def test_silence_and_a_dead_microphone_are_silent() -> None:
    assert (heard(silence(2)).level_dbfs or 0.0) < -100
    assert heard(dither(2)).level_dbfs == pytest.approx(-91, abs=4)
    assert heard(dither(2, 60)).silent_ratio == 1.0
    assert heard(dither(2, 120)).silent_ratio == 0.0


def test_each_packet_is_20_ms_of_each_channel() -> None:
    mono, stereo = encode(tone(2)), encode(tone(2), stereo=True)
    decoder = SoundDecoder()
    assert [each.size for each in decoder.decode(run_of(mono))] == [960] * 4
    assert [each.size for each in decoder.decode(run_of(stereo))] == [1920] * 4


def test_after_another_sound_the_level_is_that_of_the_new_one() -> None:
    decoder = SoundDecoder()
    decoder.decode(run_of(encode(tone(2, 30_000))))
    assert said(decoder.decode(run_of(encode(dither(2))))).silent_ratio == 1.0


def test_what_is_no_opus_is_told_and_the_next_run_heard() -> None:
    decoder = SoundDecoder()
    with pytest.raises(RtpError, match="no Opus"):
        decoder.decode(SoundRun((b"\xff" * 40,) * 8, 4))
    assert len(decoder.decode(run_of(encode(tone(2))))) == 4
