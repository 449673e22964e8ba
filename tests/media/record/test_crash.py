"""kill -9 at any time: at most the last part is lost, and the recording goes on."""

import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from media.errors import RecordingNotFound
from media.frames import Codec
from media.record.entries import ClockMapping, GapReason, RecordingState
from media.record.journal import JOURNAL_NAME, JournalContents, parse_journal
from media.record.manifest import read_manifest
from media.record.reader import TrackView, read_events, read_recording
from media.record.recorder import Recording
from media.record.repair import repair_recording
from media.record.verify import ProblemCode, verify_recording
from media.rtp.clock_mapping import ClockSource, RtpClockMapping
from tests.media.record.encoded_media import (
    decoded_audio_samples,
    decoded_sizes,
    descriptor,
    files_by_init,
    opus,
    packet_times,
    video,
)

ROOT = Path(__file__).parents[3]


def killed_after(root: Path, how: str, media: Path, parts: int, delay_s: float = 0.0) -> list[str]:
    """Run the writer, kill it `delay_s` after it told of that many parts, and return what it had said."""
    command = [sys.executable, "-m", "tests.media.record.crash_writer", str(root), how, str(media)]
    said: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT, text=True) as process:
        assert process.stdout is not None
        while sum(line.startswith("part ") for line in said) < parts:
            line = process.stdout.readline()
            assert line, "the writer ended by itself"
            said.append(line)
        time.sleep(delay_s)
        os.kill(process.pid, signal.SIGKILL)
        said += process.stdout.readlines()
    assert process.returncode == -signal.SIGKILL
    # The last line may be torn, for it need not have been finished.
    return [line for line in said if line.startswith(("part ", "segment ")) and line.endswith("\n")]


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Encoded once: 13 s of a track in each codec."""
    path = tmp_path_factory.mktemp("media") / "frames.pickle"
    frames = [opus(packets=650) if codec is Codec.OPUS else video(codec, frames=390) for codec in Codec]
    tracks = [(descriptor(track[0].codec, f"TR_{number}"), track) for number, track in enumerate(frames)]
    path.write_bytes(pickle.dumps(tracks))
    return path


def promised(said: list[str]) -> dict[tuple[int, int], tuple[int, int]]:
    """Parts and samples that were told to be on disk, by track and sequence."""
    found: dict[tuple[int, int], tuple[int, int]] = {}
    for line in said:
        words = line.split()
        if words[0] == "part" and len(words) == 5:
            track, sequence, parts, samples = map(int, words[1:])
            found[track, sequence] = (parts, samples)
    return found


def check_track(track: TrackView, files: list[bytes]) -> None:
    """Everything that the journal lists demuxes with the right times and decodes."""
    times = [time for data in files for time in packet_times(data, track.timescale)]
    assert len(times) == track.samples
    assert times == sorted(times)
    if track.descriptor.codec is Codec.OPUS:
        assert sum(map(decoded_audio_samples, files)) == track.samples * 960
    else:
        assert sum(len(decoded_sizes(data)) for data in files) == track.samples


@pytest.mark.timeout(300)
def test_kill_9_loses_at_most_the_last_part(tmp_path: Path, media: Path) -> None:
    random_source = random.Random(20)
    for attempt in range(10):
        root = tmp_path / str(attempt)
        said = killed_after(root, "create", media, random_source.randint(0, 40), random_source.uniform(0, 0.05))
        told = promised(said)
        path = root / "one"
        assert read_recording(path).state is RecordingState.INTERRUPTED
        if attempt % 2:
            repair_recording(path)
        else:
            Recording.resume(path, 1_100.0).close(1_101.0)
        view = read_recording(path)
        assert verify_recording(path).problems == ()
        kept = {(t.number, s.sequence): (s.parts, s.samples) for t in view.tracks for s in t.segments}
        # All that was told is there; at most the one part being written when it died came on top.
        assert kept.keys() >= told.keys()
        for key, (parts, samples) in kept.items():
            parts_told, samples_told = told.get(key, (0, 0))
            assert parts_told <= parts <= parts_told + 1
            assert samples >= samples_told
        for track in view.tracks:
            check_track(track, files_by_init(view, track))
        events = list(read_events(path))
        assert [event["media_time_s"] for event in events] == pytest.approx([0.02 * i for i in range(len(events))])


@pytest.mark.timeout(120)
def test_a_writer_that_is_killed_again_and_again_goes_on_in_the_same_recording(tmp_path: Path, media: Path) -> None:
    killed_after(tmp_path, "create", media, 25)
    killed_after(tmp_path, "resume", media, 25)
    path = tmp_path / "one"
    Recording.resume(path, 1_200.0).close(1_201.0)
    view = read_recording(path)
    assert verify_recording(path).problems == ()
    assert len(view.tracks) == len(Codec)
    for track in view.tracks:
        assert [segment.sequence for segment in track.segments] == list(range(1, len(track.segments) + 1))
        (gap,) = [gap for gap in track.gaps if gap.reason is GapReason.RESTART]
        after = next(s for s in track.segments if s.decode_time == gap.decode_time + gap.duration)
        assert after.discontinuity
        assert track.media_time_s(after.decode_time) == pytest.approx(100, abs=0.001)
        assert after.decode_time / track.timescale == pytest.approx(100, abs=0.001)
        assert any(segment.recovered for segment in track.segments)
        check_track(track, files_by_init(view, track))


def recorded(root: Path, packets: int = 700) -> Path:
    recording = Recording.create(root, "one", "room", started_at=1_000.0)
    track = recording.open_track(descriptor(Codec.OPUS), 1_000.0)
    for frame in opus(packets=packets):
        track.write(frame)
    recording.close(1_020.0)
    return recording.path


def test_a_torn_journal_tail_is_cut(tmp_path: Path) -> None:
    path = recorded(tmp_path)
    journal = path / JOURNAL_NAME
    whole = journal.read_bytes()
    for torn in (b"{", b'{"type":"segment","at":1', b"\0" * 4096, whole[-60:-1]):
        journal.write_bytes(whole + torn)
        assert [problem.code for problem in verify_recording(path).problems] == [ProblemCode.JOURNAL_TORN]
        assert read_recording(path).tracks[0].samples == 700
    Recording.resume(path, 1_030.0).close(1_031.0)
    assert verify_recording(path).problems == ()
    assert journal.read_bytes().startswith(whole)


def test_every_cut_of_the_journal_can_be_resumed(tmp_path: Path) -> None:
    path = recorded(tmp_path)
    journal = path / JOURNAL_NAME
    whole = journal.read_bytes()
    first_line = whole.index(b"\n") + 1
    for cut in range(first_line, len(whole), 97):
        journal.write_bytes(whole[:cut])
        Recording.resume(path, 1_030.0).close(1_031.0)
        report = verify_recording(path)
        if b"track_opened" not in journal.read_bytes():
            assert [problem.code for problem in report.problems] == [ProblemCode.TRACK_UNLISTED]
            repair_recording(path)
            report = verify_recording(path)
        assert report.problems == ()
        assert report.samples == 700


def test_who_goes_on_reads_the_journal_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = recorded(tmp_path)
    journal = path / JOURNAL_NAME
    lines = journal.read_bytes().splitlines(keepends=True)
    # The last segment is one that a dead writer left.
    journal.write_bytes(b"".join(lines[: max(n for n, line in enumerate(lines) if b'"segment"' in line)]))
    read: list[int] = []

    def noting(data: bytes) -> JournalContents:
        read.append(len(data))
        return parse_journal(data)

    monkeypatch.setattr("media.record.journal.parse_journal", noting)
    recording = Recording.resume(path, 1_030.0)
    assert len(read) == 1
    track = recording.open_track(descriptor(Codec.OPUS), 1_030.0)
    for frame in opus(packets=100, start=1_030.0):
        track.write(frame)
    recording.close(1_040.0)
    assert [segment.recovered for segment in read_recording(path).tracks[0].segments] == [False, False, True, False]
    assert verify_recording(path).problems == ()


def test_where_no_recording_is_going_on_with_one_makes_none(tmp_path: Path) -> None:
    with pytest.raises(RecordingNotFound):
        Recording.resume(tmp_path, 1_030.0)
    assert list(tmp_path.iterdir()) == []


def with_clocks(root: Path, *, first: int, second: int) -> tuple[Path, list[ClockMapping]]:
    """A copy of a recording of 8 s that goes on, as a kill would leave it, and the mappings of two reports.

    They come after the packets of those numbers, in the first segment and in the second, which is open.
    """
    recording = Recording.create(root, "one", "room", started_at=1_000.0)
    track = recording.open_track(descriptor(Codec.OPUS), 1_000.0)
    frames = opus(packets=400)
    for number, frame in enumerate(frames):
        track.write(frame)
        if number in {first, second}:
            at = 999.95 if number == first else 999.9
            report = RtpClockMapping(frames[0].rtp_timestamp, at, 0.0, 1.0, ClockSource.SENDER_REPORT)
            track.set_clock_mapping(report, frame.arrival_time)
    recording.tick(1_012.0)
    journal = recording.path / JOURNAL_NAME
    while b"-0.1" not in journal.read_bytes() or not read_manifest(recording.path).tracks:  # the manifest comes last
        time.sleep(0.01)
    copy = root / "copy"
    shutil.copytree(recording.path, copy)
    recording.close(1_021.0)
    return copy, [ClockMapping(1, 0, at_s, 0.0, 1.0, ClockSource.SENDER_REPORT) for at_s in (-0.05, -0.1)]


def test_a_clock_that_only_a_segments_note_has_is_taken_from_there(tmp_path: Path) -> None:
    path, (first, _) = with_clocks(tmp_path, first=200, second=350)
    journal = path / JOURNAL_NAME
    lines = journal.read_bytes().splitlines(keepends=True)
    lost = next(number for number, line in enumerate(lines) if b"sender_report" in line)
    journal.write_bytes(b"".join(lines[:lost]))
    Recording.resume(path, 1_030.0).close(1_031.0)
    view = read_recording(path)
    assert [segment.recovered for segment in view.tracks[0].segments] == [True, True]
    assert [mapping.source for mapping in view.tracks[0].clock_mappings] == [ClockSource.SENDER_REPORT]
    assert view.tracks[0].media_time_s(0) == pytest.approx(first.media_time_s)
    assert journal.read_bytes().count(b"sender_report") == 1
    assert verify_recording(path).problems == ()


def test_a_clock_that_the_journal_knows_better_than_the_note_stays(tmp_path: Path) -> None:
    path, (_, second) = with_clocks(tmp_path, first=200, second=350)
    Recording.resume(path, 1_030.0).close(1_031.0)
    view = read_recording(path)
    assert [segment.recovered for segment in view.tracks[0].segments] == [False, True]
    assert view.tracks[0].media_time_s(0) == pytest.approx(second.media_time_s)
    assert verify_recording(path).problems == ()
