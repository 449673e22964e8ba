"""MP4 outputs, played back: audio and video together, gaps where they were, nothing lost."""

from pathlib import Path

import av
import pytest

from media.errors import RecordingDamaged
from media.export.verification import verify_output
from media.frames import Codec
from media.process.mp4 import write_mp4
from media.process.output import ExportOutput, Handling
from media.process.timeline import plan_programs
from media.record.codec_config import RECORDABLE
from media.record.entries import Container
from media.record.reader import read_recording
from tests.media.export.playback import Playback, play
from tests.media.export.recordings import (
    SMALL,
    SMALLER,
    Track,
    camera_and_microphone,
    encode_audio,
    encode_video,
    without,
    write_recording,
)


def export(tmp_path: Path, tracks: list[Track]) -> tuple[ExportOutput, Playback]:
    """The one output of a recording of `tracks`, verified, and what it plays."""
    view = read_recording(write_recording(tmp_path / "recording", tracks))
    (program,) = plan_programs(view, None)
    out = tmp_path / "out"
    out.mkdir()
    output = verify_output(write_mp4(view, program, out, lambda _: None), out, lambda _: None)
    return output, play(out / output.entry)


def assert_together(marks: tuple[float, ...], expected: list[float]) -> None:
    """Marks are where they should be, within a frame of 40 ms."""
    assert list(marks) == pytest.approx(expected, abs=0.04)


def test_h264_and_opus_are_copied_in_sync(tmp_path: Path) -> None:
    output, playback = export(tmp_path, camera_and_microphone(Codec.H264))
    video, audio = output.tracks
    assert (video.handling, video.samples) == (Handling.COPIED, 70)
    assert (audio.handling, audio.samples, audio.silence_packets) == (Handling.COPIED, 150, 0)
    assert_together(playback.flashes, [1.0, 2.0])
    assert_together(playback.tones, [0.0, 1.0, 2.0])
    assert playback.frames == 70


@pytest.mark.parametrize(("codec", "entry"), [(Codec.H265, "hvc1"), (Codec.VP9, "vp09"), (Codec.AV1, "av01")])
def test_newer_codecs_are_copied_in_sync(tmp_path: Path, codec: Codec, entry: str) -> None:
    output, playback = export(tmp_path, camera_and_microphone(codec))
    video = output.tracks[0]
    assert (video.handling, video.codec, video.samples) == (Handling.COPIED, codec, 70)
    assert playback.frames == 70
    assert_together(playback.flashes, [1.0, 2.0])
    assert_together(playback.tones, [0.0, 1.0, 2.0])
    with av.open(str(tmp_path / "out" / output.entry), "r") as container:
        assert container.streams.video[0].codec_context.codec_tag == entry


@pytest.mark.parametrize("codec", [Codec.VP9, Codec.AV1])
def test_codecs_that_may_change_their_size_are_copied_when_they_do(tmp_path: Path, codec: Codec) -> None:
    video = encode_video(codec, 0.0, 1.0, SMALLER) + encode_video(codec, 1.0, 2.0)
    output, playback = export(tmp_path, [Track("camera", video), Track("microphone", encode_audio(0.0, 3.0))])
    track = output.tracks[0]
    assert (track.handling, track.reason, (track.width, track.height)) == (Handling.COPIED, "", SMALL)
    assert playback.sizes == {SMALL, SMALLER}
    assert playback.frames == 75
    assert_together(playback.flashes, [0.0, 1.0, 2.0])


def test_a_camera_that_changes_its_codec_is_transcoded(tmp_path: Path) -> None:
    tracks = [
        Track("camera", encode_video(Codec.VP9, 0.0, 1.0)),
        Track("camera", encode_video(Codec.AV1, 1.0, 1.0)),
        Track("camera", encode_video(Codec.H265, 2.0, 1.0)),
    ]
    output, playback = export(tmp_path, tracks)
    assert output.tracks[0].reason == "recorded as av1, h265, vp9"
    assert (playback.frames, output.tracks[0].concealed_frames) == (75, 0)
    assert_together(playback.flashes, [0.0, 1.0, 2.0])


def test_vp9_of_earlier_versions_is_transcoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECORDABLE, Codec.VP9, Container.WEBM)
    output, playback = export(tmp_path, camera_and_microphone(Codec.VP9))
    assert output.tracks[0].reason == "recorded as vp9 in WebM"
    assert_together(playback.flashes, [1.0, 2.0])


def test_vp8_becomes_h264_frame_by_frame(tmp_path: Path) -> None:
    output, playback = export(tmp_path, camera_and_microphone(Codec.VP8))
    video = output.tracks[0]
    assert (video.handling, video.reason) == (Handling.TRANSCODED, "recorded as vp8")
    assert (video.codec, video.samples, playback.frames) == (Codec.H264, 70, 70)
    assert_together(playback.flashes, [1.0, 2.0])
    assert_together(playback.tones, [0.0, 1.0, 2.0])


@pytest.mark.parametrize("codec", [Codec.H264, Codec.H265])
def test_parameter_sets_of_changing_size_are_transcoded_to_the_largest(tmp_path: Path, codec: Codec) -> None:
    video = encode_video(codec, 0.0, 1.0, SMALLER) + encode_video(codec, 1.0, 2.0)
    output, playback = export(tmp_path, [Track("camera", video), Track("microphone", encode_audio(0.0, 3.0))])
    assert output.tracks[0].handling is Handling.TRANSCODED
    assert "160x90, 320x180" in output.tracks[0].reason
    assert playback.sizes == {SMALL}
    assert playback.frames == 75
    assert_together(playback.flashes, [0.0, 1.0, 2.0])


def test_a_layer_switch_there_and_back_keeps_the_marks(tmp_path: Path) -> None:
    video = (
        encode_video(Codec.VP8, 0.0, 1.0)
        + encode_video(Codec.VP8, 1.0, 1.0, SMALLER)
        + encode_video(Codec.VP8, 2.0, 1.0)
    )
    output, playback = export(tmp_path, [Track("camera", video), Track("microphone", encode_audio(0.0, 3.0))])
    assert output.tracks[0].samples == playback.frames == 75
    assert_together(playback.flashes, [0.0, 1.0, 2.0])


def test_gaps_stay_gaps(tmp_path: Path) -> None:
    tracks = [
        Track("camera", without(encode_video(Codec.H264, 0.0, 4.0), 0.8, 2.0)),
        Track("microphone", without(encode_audio(0.0, 4.0), 1.5, 2.7)),
    ]
    output, playback = export(tmp_path, tracks)
    assert_together(playback.flashes, [0.0, 2.0, 3.0])
    assert_together(playback.tones, [0.0, 1.0, 3.0])
    audio = output.tracks[1]
    assert (audio.samples, audio.silence_packets) == (140, 60)
    assert playback.audio_s == pytest.approx(4.0, abs=0.02)
    assert playback.frames == 70


def test_a_track_that_starts_late_starts_late_in_the_file(tmp_path: Path) -> None:
    tracks = [
        Track("camera", encode_video(Codec.H264, 1.4, 1.6)),
        Track("microphone", encode_audio(0.0, 3.0)),
    ]
    output, playback = export(tmp_path, tracks)
    assert output.tracks[0].start_s == pytest.approx(1.4)
    assert_together(playback.flashes, [2.0])
    assert_together(playback.tones, [0.0, 1.0, 2.0])


def test_audio_that_starts_late_is_preceded_by_silence(tmp_path: Path) -> None:
    tracks = [Track("camera", encode_video(Codec.H264, 0.0, 3.0)), Track("microphone", encode_audio(1.5, 1.5))]
    output, playback = export(tmp_path, tracks)
    assert output.tracks[1].silence_packets == 75
    assert_together(playback.tones, [2.0])


@pytest.mark.parametrize(("name", "recorded"), [("camera", (1,)), ("another camera", (1, 3))])
def test_a_republished_camera_goes_on_in_the_same_file(tmp_path: Path, name: str, recorded: tuple[int, ...]) -> None:
    tracks = [
        Track("camera", encode_video(Codec.H264, 0.0, 1.2)),
        Track("camera", encode_video(Codec.H264, 2.0, 1.2), name=name),
        Track("microphone", encode_audio(0.0, 3.2)),
    ]
    output, playback = export(tmp_path, tracks)
    # Numbers are given in the order of arrival; the microphone is track 2.
    assert output.tracks[0].recorded_tracks == recorded
    assert output.tracks[0].handling is Handling.COPIED
    assert_together(playback.flashes, [0.0, 1.0, 2.0, 3.0])
    assert playback.frames == 60


def test_a_clock_that_is_corrected_ends_in_sync(tmp_path: Path) -> None:
    tracks = [
        Track("camera", encode_video(Codec.H264, 0.0, 3.5), mapping_error_s=0.05),
        Track("microphone", encode_audio(0.0, 3.5)),
    ]
    _, playback = export(tmp_path, tracks)
    assert_together(playback.flashes[-1:], [3.0])
    assert_together(playback.tones[-1:], [3.0])


def test_audio_alone_is_an_output_too(tmp_path: Path) -> None:
    output, playback = export(tmp_path, [Track("microphone", encode_audio(0.0, 2.0))])
    assert [track.codec for track in output.tracks] == [Codec.OPUS]
    assert_together(playback.tones, [0.0, 1.0])


def test_the_index_comes_first_so_that_it_plays_while_it_loads(tmp_path: Path) -> None:
    output, _ = export(tmp_path, camera_and_microphone(Codec.H264))
    data = (tmp_path / "out" / output.entry).read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_copied_h264_keeps_its_parameter_sets_in_the_sample_entry(tmp_path: Path) -> None:
    output, _ = export(tmp_path, camera_and_microphone(Codec.H264))
    with av.open(str(tmp_path / "out" / output.entry), "r") as container:
        first = next(packet for packet in container.demux(container.streams.video[0]))
        assert container.streams.video[0].codec_context.codec_tag == "avc1"
    kinds = {nal[0] & 0x1F for nal in _nals(bytes(first))}
    assert not kinds & {7, 8}


def _nals(data: bytes) -> list[bytes]:
    nals = []
    while data:
        size = int.from_bytes(data[:4], "big")
        nals.append(data[4 : 4 + size])
        data = data[4 + size :]
    return nals


def test_new_parameter_sets_of_the_same_size_stay_in_band(tmp_path: Path) -> None:
    video = encode_video(Codec.H264, 0.0, 1.0) + encode_video(Codec.H264, 1.0, 1.0, preset="medium")
    output, playback = export(tmp_path, [Track("camera", video), Track("microphone", encode_audio(0.0, 2.0))])
    assert output.tracks[0].handling is Handling.COPIED
    with av.open(str(tmp_path / "out" / output.entry), "r") as container:
        assert container.streams.video[0].codec_context.codec_tag == "avc3"
    assert_together(playback.flashes, [0.0, 1.0])
    assert playback.frames == 50


def test_files_that_hold_less_than_the_journal_says_are_damaged(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "recording", camera_and_microphone(Codec.H264))
    view = read_recording(path)
    segment = path / view.tracks[1].segments[0].path
    segment.write_bytes(segment.read_bytes()[:1500])
    (program,) = plan_programs(view, None)
    with pytest.raises(RecordingDamaged):
        write_mp4(view, program, tmp_path, lambda _: None)


def test_progress_reaches_one_and_never_falls(tmp_path: Path) -> None:
    view = read_recording(write_recording(tmp_path / "recording", camera_and_microphone(Codec.VP8)))
    (program,) = plan_programs(view, None)
    seen: list[float] = []
    write_mp4(view, program, tmp_path, seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


@pytest.mark.parametrize("drift_ppm", [2000.0, -2000.0])
def test_a_sound_card_that_drifts_is_made_up_for_in_samples_that_players_count(
    tmp_path: Path, drift_ppm: float
) -> None:
    """Ten times what a bad crystal does. The tone stays where its clock says, and so does the number of samples."""
    seconds, speed = 20, 1 + drift_ppm * 1e-6
    output, playback = export(tmp_path, [Track("microphone", encode_audio(0.0, float(seconds)), drift_ppm=drift_ppm)])
    (audio,) = output.tracks
    assert (audio.silence_packets > 0) == (drift_ppm > 0)
    assert (audio.skipped_packets > 0) == (drift_ppm < 0)
    assert audio.samples + audio.skipped_packets == seconds * 50
    assert list(playback.tones) == pytest.approx([second * speed for second in range(seconds)], abs=0.023)
    assert playback.audio_s == pytest.approx(seconds * speed, abs=0.02)
