"""File sources, on files that FFmpeg wrote a moment before."""

import os
import shutil
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from media.errors import SourceUnreadable
from media.sources.file import FileSource
from media.sources.open import open_source
from media.sources.pattern import PatternSource, beep_level, read_flash, read_frame_number
from media.sources.source import AudioFormat, DecodedAudio, DecodedVideoFrame, VideoFormat
from tests.media.sources.clips import (
    VIDEO,
    adts,
    remuxed,
    transport_stream,
    without_sound,
    write_encoded,
    write_pattern,
)


def luma_of(frame: DecodedVideoFrame) -> "np.ndarray[tuple[int, int], np.dtype[np.uint8]]":
    plane = np.frombuffer(frame.data, np.uint8)[: frame.width * frame.height]
    return plane.reshape(frame.height, frame.width)


def level_of(chunk: DecodedAudio) -> float:
    samples = np.frombuffer(chunk.data, np.int16).reshape(-1, chunk.channels)
    return beep_level(samples[:, 0], chunk.sample_rate)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pattern(tmp_path_factory.mktemp("clip") / "clip.mp4", seconds=2.0, audio=AudioFormat(44_100, 2))


def test_every_frame_comes_once_in_order_with_its_time(clip: Path) -> None:
    source = FileSource(clip)
    assert source.video == VIDEO
    assert source.audio == AudioFormat(48_000, 2)
    frames = list(iter(source.read_video, None))
    assert [read_frame_number(luma_of(frame)) for frame in frames] == list(range(50))
    assert [round(frame.pts_s, 3) for frame in frames] == [round(number / 25, 3) for number in range(50)]
    source.close()


def test_sound_is_resampled_and_stays_with_the_picture(clip: Path) -> None:
    source = FileSource(clip)
    flashes = [frame.pts_s for frame in iter(source.read_video, None) if read_flash(luma_of(frame))]
    chunks = list(iter(source.read_audio, None))
    source.close()
    assert {(chunk.sample_rate, chunk.channels) for chunk in chunks} == {(48_000, 2)}
    assert {chunk.samples for chunk in chunks[:-1]} == {960}
    beeps = [chunk.pts_s for chunk in chunks if level_of(chunk) > 0.2]
    second_flash = next(pts for pts in flashes if pts > 0.5)
    second_beep = next(pts for pts in beeps if pts > 0.5)
    assert abs(second_flash - second_beep) <= 0.04
    assert abs(sum(chunk.samples for chunk in chunks) / 48_000 - 2.0) < 0.05


@pytest.mark.parametrize("mirrored", [False, True], ids=["", "mirrored"])
@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_what_a_phone_filmed_on_its_side_comes_upright(tmp_path: Path, rotation: int, mirrored: bool) -> None:
    path = write_encoded(tmp_path / "phone.mp4", seconds=0.4, rotation=rotation, mirrored=mirrored)
    source = FileSource(path)
    assert source.video == VIDEO
    frames = list(iter(source.read_video, None))
    source.close()
    assert {(frame.width, frame.height) for frame in frames} == {(VIDEO.width, VIDEO.height)}
    assert [read_frame_number(luma_of(frame)) for frame in frames] == list(range(10))
    blue = np.frombuffer(frames[0].data, np.uint8)[VIDEO.width * VIDEO.height :][: VIDEO.width * VIDEO.height // 4]
    upright = PatternSource(VIDEO).read_video()
    assert upright
    wanted = np.frombuffer(upright.data, np.uint8)[VIDEO.width * VIDEO.height :][: VIDEO.width * VIDEO.height // 4]
    assert np.abs(blue.astype(int) - wanted).mean() < 4


def test_looping_goes_on_from_the_start_and_time_keeps_rising(clip: Path) -> None:
    source = FileSource(clip, loop=True)
    frames = [source.read_video() for _ in range(120)]
    chunks = [source.read_audio() for _ in range(240)]
    source.close()
    assert [read_frame_number(luma_of(frame)) for frame in frames if frame] == [number % 50 for number in range(120)]
    times = [frame.pts_s for frame in frames if frame]
    assert times == sorted(times)
    assert times[100] == pytest.approx(4.0, abs=0.1)
    sound_times = [chunk.pts_s for chunk in chunks if chunk]
    assert len(sound_times) == 240
    assert sound_times[-1] == pytest.approx(times[119], abs=0.2)


def test_files_with_only_sound_or_only_picture(tmp_path: Path) -> None:
    clip = write_pattern(tmp_path / "both.mp4", seconds=0.5, audio=AudioFormat())
    sound = FileSource(remuxed(clip, tmp_path / "a.m4a", "audio"))
    assert sound.video is None
    assert sound.read_video() is None
    assert sound.read_audio() is not None
    sound.close()
    picture = FileSource(remuxed(clip, tmp_path / "v.mkv", "video"))
    assert picture.audio is None
    assert picture.read_audio() is None
    picture.close()


def test_sound_behind_a_hole_stays_with_its_picture(tmp_path: Path) -> None:
    whole = write_pattern(tmp_path / "whole.mp4", seconds=6.0, audio=AudioFormat(48_000, 2))
    source = FileSource(without_sound(whole, tmp_path / "hole.mkv", 1.0, 4.0))
    flashes = [frame.pts_s for frame in iter(source.read_video, None) if read_flash(luma_of(frame))]
    chunks = list(iter(source.read_audio, None))
    source.close()
    beeps = [chunk.pts_s for chunk in chunks if level_of(chunk) > 0.2]
    assert not [pts_s for pts_s in beeps if 0.5 < pts_s < 3.9]
    beep, flash = (next(pts_s for pts_s in times if pts_s > 4.5) for times in (beeps, flashes))
    assert beep == pytest.approx(flash, abs=0.04)
    assert {chunk.samples for chunk in chunks[:-1]} == {960}
    assert chunks[-1].pts_s == pytest.approx(6.0, abs=0.1)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Joins transport streams of three seconds each as they are, whose clocks begin at the times given."""
    folder = tmp_path_factory.mktemp("parts")
    whole = write_pattern(folder / "whole.mp4", seconds=3.0, audio=AudioFormat(48_000, 2))

    def join(*begins_s: float) -> Path:
        joined = folder / "joined.ts"
        each = [transport_stream(whole, folder / "part.ts", begin_s).read_bytes() for begin_s in begins_s]
        joined.write_bytes(b"".join(each))
        return joined

    return join


@pytest.mark.parametrize("begins_s", [(0.0, 0.0), (1000.0, 0.0), (0.0, 1000.0), (500.0, 0.0, 90_000.0)], ids=str)
def test_streams_put_one_behind_the_other_go_on(parts: Callable[..., Path], begins_s: tuple[float, ...]) -> None:
    source = FileSource(parts(*begins_s))
    frames = list(iter(source.read_video, None))
    chunks = list(iter(source.read_audio, None))
    source.close()
    assert [read_frame_number(luma_of(frame)) for frame in frames] == [*range(75)] * len(begins_s)
    gaps = np.diff([frame.pts_s for frame in frames])
    assert 0.03 < gaps.min() <= gaps.max() < 0.3
    assert chunks[-1].pts_s == pytest.approx(3.0 * len(begins_s), abs=0.3)
    flashes = [frame.pts_s for frame in frames if read_flash(luma_of(frame))]
    beeps = [chunk.pts_s for chunk in chunks if level_of(chunk) > 0.2]
    for part in range(len(begins_s)):
        flash, beep = (next(pts_s for pts_s in times if pts_s > 3.0 * part + 0.7) for times in (flashes, beeps))
        assert beep == pytest.approx(flash, abs=0.04)


def test_such_streams_are_looped_as_long_as_they_are(parts: Callable[..., Path]) -> None:
    source = FileSource(parts(1000.0, 0.0), loop=True)
    frames = [source.read_video() for _ in range(200)]
    chunks = [source.read_audio() for _ in range(400)]
    source.close()
    numbers = [read_frame_number(luma_of(frame)) for frame in frames if frame]
    assert numbers == [number % 75 for number in range(200)]
    gaps = np.diff([frame.pts_s for frame in frames if frame])
    assert 0.03 < gaps.min() <= gaps.max() < 0.3
    assert chunks[-1]
    assert chunks[-1].pts_s == pytest.approx(8.0, abs=0.3)


def test_sound_whose_layout_and_rate_change_goes_on(tmp_path: Path) -> None:
    parts = [
        adts(tmp_path / f"{rate}-{layout}.aac", rate, layout) for rate, layout in ((48_000, "mono"), (44_100, "stereo"))
    ]
    joined = tmp_path / "joined.aac"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    source = FileSource(joined)
    chunks = list(iter(source.read_audio, None))
    source.close()
    assert {(chunk.sample_rate, chunk.channels) for chunk in chunks} == {(48_000, 1)}
    assert sum(chunk.samples for chunk in chunks) / 48_000 == pytest.approx(2.0, abs=0.15)


def test_sound_that_cannot_be_converted_says_so(tmp_path: Path) -> None:
    channels, rate = 10, 48_000
    size = channels * 2
    form = struct.pack("<HHIIHHHHI", 0xFFFE, channels, rate, rate * size, size, 16, 22, 16, (1 << channels) - 1)
    form += b"\1\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"  # PCM; the mask before names speakers of no known layout
    sound = bytes(size * 4800)
    head = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(sound))
    path = tmp_path / "many.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", len(head) + len(sound)) + head + sound)
    with pytest.raises(SourceUnreadable, match=r"many\.wav cannot be decoded"):
        FileSource(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable, match="does not exist"):
        open_source(str(tmp_path / "nothing.mp4"))


def test_folders_and_noise_are_no_media(tmp_path: Path) -> None:
    (tmp_path / "noise.mp4").write_bytes(bytes(range(256)) * 40)
    for path in (tmp_path, tmp_path / "noise.mp4"):
        with pytest.raises(SourceUnreadable, match="cannot be read"):
            open_source(str(path))


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)  # paths of sockets are short


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [a_pipe, a_socket, a_device, Path.mkdir])
@pytest.mark.parametrize("pre_encoded", [False, True])
def test_what_is_no_regular_file_is_refused_without_opening_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], *, pre_encoded: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "clip.mp4")
    refused: list[SourceUnreadable] = []

    def read() -> None:
        try:
            open_source(str(tmp_path / "clip.mp4"), pre_encoded=pre_encoded)
        except SourceUnreadable as error:
            refused.append(error)

    thread = threading.Thread(target=read, daemon=True)  # opening a pipe would never end
    thread.start()
    thread.join(2)
    assert [str(error) for error in refused if "no regular file" in str(error)]


def test_what_cannot_be_a_path_is_refused() -> None:
    for spec in ("clip\0.mp4", "\ud800.mp4"):
        with pytest.raises(SourceUnreadable, match="cannot be a path"):
            open_source(spec)


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    path = write_encoded(tmp_path / "clip.mp4", seconds=0.5).rename(tmp_path / "pattern")
    source = open_source(path)
    assert source.audio is None, "the file, and not the pattern"
    source.close()
    with pytest.raises(SourceUnreadable, match="does not exist"):
        open_source(Path("pattern"))


def test_file_without_sound_or_picture(tmp_path: Path) -> None:
    subtitles = tmp_path / "words.srt"
    subtitles.write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n")
    with pytest.raises(SourceUnreadable, match="neither video nor audio"):
        open_source(str(subtitles))


def test_a_codec_that_nothing_decodes_is_named(tmp_path: Path) -> None:
    clip = write_pattern(tmp_path / "clip.mkv", seconds=0.5, audio=AudioFormat())
    for codec, kind in ((b"A_AAC", "audio"), (b"V_MPEG4/ISO/AVC", "video")):
        other = tmp_path / f"{kind}.mkv"
        other.write_bytes(clip.read_bytes().replace(codec, codec[:2] + b"x" * len(codec[2:])))
        with pytest.raises(SourceUnreadable, match=f"nothing here decodes the {kind} of .*{kind}.mkv"):
            FileSource(other)


def test_names_with_a_colon_and_titles_in_any_encoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    clip = write_encoded(tmp_path / "clip.mkv", seconds=0.2)
    titled = Path("10:30 titled.mkv")
    content = clip.read_bytes()
    assert content.count(b"Lavf") >= 1
    titled.write_bytes(content.replace(b"Lavf", b"\xe9\xe8\xfc\xdf"))
    source = FileSource(titled)
    assert len(list(iter(source.read_video, None))) == 5
    source.close()


def test_damage_in_the_middle_is_skipped(clip: Path, tmp_path: Path) -> None:
    content = bytearray(clip.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = bytes(400)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(content)
    source = FileSource(damaged)
    frames = list(iter(source.read_video, None))
    source.close()
    assert len(frames) > 20


def test_a_file_whose_media_are_all_zero_is_refused(clip: Path, tmp_path: Path) -> None:
    content = bytearray(clip.read_bytes())
    start = content.index(b"mdat") + 4
    end = content.index(b"moov") - 4
    content[start:end] = bytes(end - start)
    damaged = tmp_path / "zeros.mp4"
    damaged.write_bytes(content)
    with pytest.raises(SourceUnreadable, match="damaged"):
        FileSource(damaged)


def test_close_while_another_thread_reads(clip: Path) -> None:
    source = FileSource(clip, loop=True)
    reading, errors = threading.Event(), []

    def read() -> None:
        try:
            while source.read_video() is not None:
                reading.set()
        except SourceUnreadable as error:
            errors.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    assert reading.wait(10)
    source.close()
    thread.join(10)
    assert not thread.is_alive()
    assert errors == []


def test_open_source_knows_patterns() -> None:
    source = open_source("pattern:640x360@10")
    assert source.video == VideoFormat(640, 360, 10.0)
    assert source.audio == AudioFormat(48_000, 1)


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds with a key frame in each."""
    return write_encoded(tmp_path_factory.mktemp("keyed") / "clip.mp4", seconds=4.0)


def shown(source: FileSource) -> tuple[int | None, float]:
    """The number and time of the next picture."""
    frame = source.read_video()
    assert frame is not None
    return read_frame_number(luma_of(frame)), round(frame.pts_s, 3)


def test_pictures_that_come_too_late_are_left_out_up_to_the_last_key_frame(keyed: Path) -> None:
    source = FileSource(keyed)
    assert shown(source) == (0, 0.0)
    source.leave_out_video(0.9)
    assert shown(source) == (1, 0.04), "no key frame is between"
    source.leave_out_video(2.7)
    assert [shown(source), shown(source)] == [(50, 2.0), (51, 2.04)]
    source.leave_out_video(1.5)
    source.leave_out_video(2.9)
    assert shown(source) == (52, 2.08), "never back"
    source.leave_out_video(3.0)
    assert shown(source) == (75, 3.0)
    source.leave_out_video(60.0)
    assert len(list(iter(source.read_video, None))) == 24, "it ends as before"
    source.leave_out_video(60.0)
    assert source.read_video() is None
    source.close()
    source.leave_out_video(1.0)
    assert source.read_video() is None


def test_rounds_of_a_looped_file_are_left_out_too(keyed: Path) -> None:
    source = FileSource(keyed, loop=True)
    assert shown(source) == (0, 0.0)
    source.leave_out_video(13.2)
    assert shown(source) == (25, 13.0)
    for _ in range(74):
        source.read_video()
    assert shown(source) == (0, 16.0)
    source.leave_out_video(17.5)
    assert shown(source) == (25, 17.0)
    source.close()


def test_its_sound_stays_whole_where_pictures_are_left_out(clip: Path) -> None:
    source = FileSource(clip)
    source.leave_out_video(1.9)
    chunks = list(iter(source.read_audio, None))
    assert chunks[0].pts_s < 0.05
    assert sum(chunk.samples for chunk in chunks) / 48_000 > 1.9
    source.close()


def test_a_file_that_was_moved_is_read_on(keyed: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(keyed, tmp_path / "clip.mp4"))
    source = FileSource(path)
    path.unlink()
    source.leave_out_video(2.5)
    assert shown(source) == (0, 0.0)
    source.close()


def test_sound_alone_has_no_pictures_to_leave_out(clip: Path, tmp_path: Path) -> None:
    source = FileSource(remuxed(clip, tmp_path / "clip.m4a", "audio"))
    source.leave_out_video(1.0)
    assert source.read_audio() is not None
    source.close()


@pytest.mark.parametrize("container", ["mkv", "ts"])
def test_other_containers_are_sought_in_too(tmp_path: Path, container: str) -> None:
    source = FileSource(write_encoded(tmp_path / f"clip.{container}", seconds=4.0))
    assert shown(source)[0] == 0
    source.leave_out_video(2.5)
    number, _ = shown(source)
    assert number is not None
    assert number >= 1, "never back"
    source.close()
