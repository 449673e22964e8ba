"""Decoded media into frames of a recording, as they come."""

from pathlib import Path

import numpy as np
import pytest

from media.frames import Codec, EncodedFrame
from media.process.live_encoder import (
    KEYFRAME_INTERVAL_S,
    DecodedPicture,
    DecodedSound,
    LiveAudioEncoder,
    LiveVideoEncoder,
)
from media.record.reader import read_recording
from media.record.recorder import Recording
from media.record.verify import verify_recording
from tests.media.record.encoded_media import decoded_audio_samples, decoded_sizes, descriptor, files_by_init

START = 1_000.0


def picture(number: int, width: int, height: int, *, discontinuity: bool = False) -> DecodedPicture:
    luma = (np.add.outer(np.arange(height), np.arange(width)) + 4 * number) % 256
    chroma = bytes([128]) * (2 * ((width + 1) // 2) * ((height + 1) // 2))
    at = number / 30
    return DecodedPicture(
        width, height, luma.astype(np.uint8).tobytes() + chroma, 7 + at, START + at, discontinuity=discontinuity
    )


def recorded(folder: Path, frames: list[EncodedFrame]) -> list[bytes]:
    """The frames, recorded and read back: the data of each init segment's segments."""
    recording = Recording.create(folder, "one", "room", started_at=START)
    track = recording.open_track(descriptor(frames[0].codec), START)
    for frame in frames:
        assert track.write(frame)
    recording.close(START + 60)
    assert verify_recording(recording.path).problems == ()
    view = read_recording(recording.path)
    return files_by_init(view, view.tracks[0])


@pytest.mark.parametrize("size", [(160, 90), (161, 91)])
def test_pictures_of_any_size_come_back_as_many(tmp_path: Path, size: tuple[int, int]) -> None:
    encoder = LiveVideoEncoder()
    frames = [frame for number in range(75) for frame in encoder.encode(picture(number, *size))]
    assert [frame.rtp_timestamp for frame in frames] == [number * 3000 for number in range(75)]
    assert [index for index, frame in enumerate(frames) if frame.sync_sample] == [0, round(30 * KEYFRAME_INTERVAL_S)]
    (data,) = recorded(tmp_path, frames)
    assert decoded_sizes(data) == [(160, 90)] * 75


def test_a_new_size_a_discontinuity_and_a_request_bring_a_sync_sample(tmp_path: Path) -> None:
    encoder = LiveVideoEncoder()
    frames = [frame for number in range(5) for frame in encoder.encode(picture(number, 160, 90))]
    frames += encoder.encode(picture(5, 320, 180))
    frames += encoder.encode(picture(6, 320, 180))
    frames += encoder.encode(picture(7, 320, 180, discontinuity=True))
    encoder.request_keyframe()
    frames += encoder.encode(picture(8, 320, 180))
    assert [index for index, frame in enumerate(frames) if frame.sync_sample] == [0, 5, 7, 8]
    assert [index for index, frame in enumerate(frames) if frame.discontinuity] == [7]
    assert [decoded_sizes(data) for data in recorded(tmp_path, frames)] == [[(160, 90)] * 5, [(320, 180)] * 4]


def test_sound_becomes_packets_of_20_ms_and_goes_on_by_arrival_after_a_hole(tmp_path: Path) -> None:
    encoder = LiveAudioEncoder()
    frames: list[EncodedFrame] = []
    for number in range(200):
        hole_s = 3.0 if number >= 100 else 0.0
        frames += encoder.encode(DecodedSound(bytes(960), START + (number + 1) * 0.01 + hole_s))
    assert len(frames) == 100
    assert {frame.codec for frame in frames} == {Codec.OPUS}
    assert [frame.rtp_timestamp for frame in frames[:3]] == [0, 960, 1920]
    (jump,) = [index for index, frame in enumerate(frames) if frame.discontinuity]
    assert jump == 50
    assert frames[jump].rtp_timestamp / 48_000 == pytest.approx(4, abs=0.02)
    (data,) = recorded(tmp_path, frames)
    assert decoded_audio_samples(data) == 100 * 960
