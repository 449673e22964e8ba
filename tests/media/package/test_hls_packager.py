"""HLS presentations of real recordings: their files, their timeline, and how they play."""

from fractions import Fraction
from pathlib import Path

import av
import m3u8  # type: ignore[import-untyped]  # ships no types
import pytest

from media.export.verification import verify_output
from media.frames import Codec
from media.package.packager import cut_segments, package_hls
from media.process.output import ExportOutput, Handling
from media.process.streams import TimedSample
from media.process.timeline import plan_programs
from media.record.reader import read_recording
from tests.media.export.playback import Playback, play
from tests.media.export.recordings import (
    SMALL,
    SMALLER,
    STARTED_AT,
    Track,
    camera_and_microphone,
    encode_audio,
    encode_video,
    shifted,
    without,
    write_recording,
)


def package(tmp_path: Path, tracks: list[Track]) -> tuple[ExportOutput, Path, Playback]:
    view = read_recording(write_recording(tmp_path / "recording", tracks))
    (program,) = plan_programs(view, None)
    out = tmp_path / "out"
    out.mkdir()
    output = verify_output(package_hls(view, program, out, lambda _: None), out, lambda _: None)
    entry = out / output.entry
    return output, entry.parent, play(entry)


def media_playlist(folder: Path, name: str) -> m3u8.M3U8:
    return m3u8.load(str(folder / name))


def first_times(folder: Path, name: str) -> list[float]:
    """When each segment's first sample is shown, by its own file."""
    times = []
    for segment in media_playlist(folder, name).segments:
        data = folder / "joined.mp4"
        data.write_bytes((folder / segment.init_section.uri).read_bytes() + (folder / segment.uri).read_bytes())
        with av.open(str(data), "r") as container:
            packet = next(iter(container.demux()))
            assert packet.dts is not None
            assert packet.time_base is not None
            times.append(float(packet.dts * packet.time_base))
        data.unlink()
    return times


def test_h264_and_opus_are_packaged_as_recorded(tmp_path: Path) -> None:
    output, folder, playback = package(tmp_path, camera_and_microphone(Codec.H264, 9.0))
    assert {track.handling for track in output.tracks} == {Handling.COPIED}
    assert list(playback.flashes) == pytest.approx([float(s) for s in range(1, 9)], abs=0.04)
    assert list(playback.tones) == pytest.approx([float(s) for s in range(9)], abs=0.04)
    main = m3u8.load(str(folder / "index.m3u8"))
    info = main.playlists[0].stream_info
    assert info.codecs.startswith("avc1.42C0")
    assert info.codecs.endswith(",opus")
    assert info.resolution == SMALL
    assert info.frame_rate == pytest.approx(25.0, abs=0.5)
    total_bytes = sum(file.stat().st_size for file in folder.glob("*.m4s"))
    assert info.bandwidth >= info.average_bandwidth == pytest.approx(8 * total_bytes / 9.0, rel=0.01)


def test_playlist_times_are_those_in_the_files(tmp_path: Path) -> None:
    _, folder, _ = package(tmp_path, camera_and_microphone(Codec.H264, 9.0))
    for name in ("video.m3u8", "audio.m3u8"):
        segments = media_playlist(folder, name).segments
        assert len(segments) >= 2
        position_s = 0.0
        for segment, start_s in zip(segments, first_times(folder, name), strict=True):
            assert start_s == pytest.approx(position_s, abs=1e-4)
            position_s += segment.duration
        assert position_s == pytest.approx(9.0, abs=0.02)
        assert segments[0].program_date_time.timestamp() == pytest.approx(STARTED_AT)


def test_vp8_is_transcoded_first(tmp_path: Path) -> None:
    output, _, playback = package(tmp_path, camera_and_microphone(Codec.VP8))
    assert output.tracks[0].handling is Handling.TRANSCODED
    assert playback.frames == 70
    assert list(playback.flashes) == pytest.approx([1.0, 2.0], abs=0.04)


@pytest.mark.parametrize(("codec", "named"), [(Codec.H265, "hvc1.1."), (Codec.VP9, "vp09.00."), (Codec.AV1, "av01.0.")])
def test_newer_codecs_are_packaged_as_recorded(tmp_path: Path, codec: Codec, named: str) -> None:
    output, folder, playback = package(tmp_path, camera_and_microphone(codec))
    assert {track.handling for track in output.tracks} == {Handling.COPIED}
    assert playback.frames == 70
    assert list(playback.flashes) == pytest.approx([1.0, 2.0], abs=0.04)
    assert m3u8.load(str(folder / "index.m3u8")).playlists[0].stream_info.codecs.startswith(named)


@pytest.mark.parametrize("codec", [Codec.H264, Codec.H265, Codec.VP9, Codec.AV1])
def test_a_new_picture_size_is_a_discontinuity_in_both_renditions(tmp_path: Path, codec: Codec) -> None:
    video = encode_video(codec, 0.0, 2.0) + encode_video(codec, 2.0, 2.0, SMALLER)
    output, folder, playback = package(tmp_path, [Track("camera", video), Track("microphone", encode_audio(0.0, 4.0))])
    assert output.tracks[0].handling is Handling.COPIED
    segments = media_playlist(folder, "video.m3u8").segments
    assert [segment.discontinuity for segment in segments] == [False, True]
    assert segments[0].init_section.uri != segments[1].init_section.uri
    assert [s.discontinuity for s in media_playlist(folder, "audio.m3u8").segments] == [False, True]
    assert first_times(folder, "video.m3u8") == pytest.approx([0.0, 2.0], abs=0.001)
    assert first_times(folder, "audio.m3u8") == pytest.approx([0.0, 2.0], abs=0.021)
    assert playback.sizes == {SMALL, SMALLER}
    assert list(playback.flashes) == pytest.approx([0.0, 1.0, 2.0, 3.0], abs=0.04)


def test_both_renditions_begin_at_zero_and_have_no_holes(tmp_path: Path) -> None:
    tracks = [
        Track("camera", without(encode_video(Codec.H264, 0.8, 4.2), 2.4, 3.8)),
        Track("microphone", without(encode_audio(0.0, 5.0), 1.5, 2.7)),
    ]
    output, folder, playback = package(tmp_path, tracks)
    assert first_times(folder, "video.m3u8")[0] == 0.0
    assert output.tracks[1].silence_packets == 60
    assert list(playback.flashes) == pytest.approx([1.0, 2.0, 4.0], abs=0.04)
    assert list(playback.tones) == pytest.approx([0.0, 1.0, 3.0, 4.0], abs=0.04)


def test_both_renditions_end_together(tmp_path: Path) -> None:
    """Browsers wait for more of one that ends before the other, for ever."""
    picture, sound = encode_video(Codec.H264, 0.0, 2.0), encode_audio(0.0, 2.0)
    for name, tracks in {
        "video": [Track("camera", picture + shifted(picture, 5.0)), Track("microphone", sound)],
        "audio": [Track("camera", picture), Track("microphone", sound + shifted(sound, 5.0))],
    }.items():
        (tmp_path / name).mkdir()
        output, folder, playback = package(tmp_path / name, tracks)
        assert [track.duration_s for track in output.tracks] == pytest.approx([7.0, 7.0], abs=0.01)
        for rendition in ("video.m3u8", "audio.m3u8"):
            announced_s = sum(segment.duration for segment in media_playlist(folder, rendition).segments)
            assert announced_s == pytest.approx(7.0, abs=0.01)
        assert playback.audio_s == pytest.approx(7.0, abs=0.01)


def test_a_picture_that_lasts_long_has_its_next_one_in_its_segment(tmp_path: Path) -> None:
    """Browsers stop 3 s into one otherwise, and load the next segment only some 30 s before its time."""
    picture, sound = encode_video(Codec.H264, 0.0, 2.0), encode_audio(0.0, 2.0)
    tracks = [Track("camera", picture + shifted(picture, 30.0)), Track("microphone", sound + shifted(sound, 60.0))]
    output, folder, _ = package(tmp_path, tracks)
    assert output.tracks[0].repeated_pictures == 2
    assert [s.duration for s in media_playlist(folder, "video.m3u8").segments] == pytest.approx([30.0, 32.0], abs=0.01)
    with av.open(str(folder / "video.m3u8"), "r") as container:
        times = [packet.pts * packet.time_base for packet in container.demux() if packet.pts is not None]
    assert [float(time) for time in times if not time % 1 < Fraction(999, 1000)] == pytest.approx(
        [30.0, 62.0], abs=0.001
    )


def test_audio_alone_is_a_variant_of_its_own(tmp_path: Path) -> None:
    _, folder, playback = package(tmp_path, [Track("microphone", encode_audio(0.0, 3.0))])
    main = m3u8.load(str(folder / "index.m3u8"))
    assert [playlist.uri for playlist in main.playlists] == ["audio.m3u8"]
    assert main.playlists[0].stream_info.codecs == "opus"
    assert list(playback.tones) == pytest.approx([0.0, 1.0, 2.0], abs=0.04)


def test_every_file_is_listed_and_the_entry_comes_last(tmp_path: Path) -> None:
    output, folder, _ = package(tmp_path, camera_and_microphone(Codec.H264))
    assert {Path(file.path).name for file in output.files} == {path.name for path in folder.iterdir()}
    assert output.files[-1].path == output.entry
    assert all(len(file.sha256) == 64 and file.size_bytes > 0 for file in output.files)


def test_recorder_notes_do_not_get_out(tmp_path: Path) -> None:
    _, folder, _ = package(tmp_path, camera_and_microphone(Codec.H264))
    assert all(b"roomhand" not in path.read_bytes() for path in folder.glob("*.mp4"))


def test_segments_start_with_sync_samples_and_break_where_they_must() -> None:
    samples = [TimedSample(b"", second, 1, sync=second % 2 == 0, init=int(second >= 10)) for second in range(14)]
    cut = [([s.time for s in segment], flag) for segment, flag in cut_segments(iter(samples), 1, [6.5])]
    assert cut == [
        ([0, 1, 2, 3], False),
        ([4, 5, 6, 7], False),
        ([8, 9], False),
        ([10, 11, 12, 13], True),
    ]
