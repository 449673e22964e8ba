"""Audio on an output's timeline: packets follow one another, holes are filled, drift goes in whole packets."""

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.process.audio_pacing import SILENCE, AudioPacer
from media.rtp.depacketise.opus import opus_duration

PACKET = 960
USUAL_BYTES = 100


def played(times: list[int], sizes: list[int] | None = None) -> tuple[list[int], int, int]:
    """How far each packet is from its time, how many were skipped, and how many samples of silence went in."""
    pacer = AudioPacer()
    errors: list[int] = []
    skipped = silence = end = 0
    for index, time in enumerate(times):
        placement = pacer.place(time, PACKET, sizes[index] if sizes else USUAL_BYTES)
        if placement.skipped:
            skipped += 1
            continue
        filled = sum(samples for samples, _ in placement.silence)
        silence += filled
        assert placement.time == end + filled, "nothing overlaps and nothing is left open"
        end = placement.time + PACKET
        errors.append(placement.time - time)
    return errors, skipped, silence


@pytest.mark.parametrize("drift_ppm", [-200, 0, 200])
def test_twenty_minutes_of_drift_stay_within_15_ms(drift_ppm: int) -> None:
    packets = 20 * 60 * 50
    errors, skipped, silence = played([round(index * PACKET * (1 + drift_ppm * 1e-6)) for index in range(packets)])
    assert max(map(abs, errors)) <= 720
    expected = packets * PACKET * drift_ppm * 1e-6
    assert silence - skipped * PACKET == pytest.approx(expected, abs=PACKET)
    assert silence == 0 or skipped == 0, "no correction undoes another"


def test_a_pause_is_where_a_correction_goes() -> None:
    drift = [round(index * PACKET * 1.002) for index in range(300)]
    sizes = [10 if index % 25 == 24 else USUAL_BYTES for index in range(300)]
    pacer = AudioPacer()
    filled_before = [
        sizes[index] for index, time in enumerate(drift) if pacer.place(time, PACKET, sizes[index]).silence
    ]
    assert filled_before
    assert filled_before.count(10) >= len(filled_before) - 1


@given(st.lists(st.integers(0, 48_000), min_size=1, max_size=60))
@settings(max_examples=100, deadline=None)
def test_whatever_the_holes_a_packet_is_where_it_belongs(holes: list[int]) -> None:
    times, end = [], 0
    for hole in holes:
        times.append(end + hole)
        end = times[-1] + PACKET
    errors, skipped, _ = played(times)
    assert skipped == 0
    assert max(map(abs, errors)) <= 576


@pytest.mark.parametrize(("samples", "packet"), SILENCE)
def test_silence_is_as_long_as_it_says_and_silent(samples: int, packet: bytes) -> None:
    assert opus_duration(packet) == samples
    decoder = av.CodecContext.create("opus", "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.sample_rate = 48_000
    decoder.layout = "stereo"
    frames = [*decoder.decode(av.Packet(packet)), *decoder.decode(av.Packet(packet)), *decoder.decode(None)]
    assert frames
    assert all(np.abs(frame.to_ndarray()).max() < 1e-3 for frame in frames)
