"""Disks that are full, limited or read-only: what was written stays valid, what was lost is counted and told."""

import os
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from media.errors import DiskFull, DiskReadOnly, StorageError
from media.frames import Codec, EncodedFrame
from media.record.entries import (
    GapReason,
    JournalEntry,
    MuxedFileEntry,
    RecordingState,
    TimelineEvent,
    TrackClosed,
)
from media.record.journal import Journal, read_journal
from media.record.reader import RecordingView, list_recordings, read_events, read_recording
from media.record.recorder import Recording
from media.record.recording_writer import RecordingCallbacks, RecordingConfig
from media.record.storage import make_directory
from media.record.verify import verify_recording
from tests.media.record.encoded_media import descriptor, files_by_init, opus, packet_payloads, video

START = 1_000.0
DISK_BYTES = 2 << 20
CONFIG = RecordingConfig(probe_bytes=64 << 10, retry_max_s=1.0)


@contextmanager
def mounted(path: Path, options: str) -> Iterator[Path]:
    """A file system in memory at `path`; needs root."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small tmpfs")
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("this system does not let us mount a small tmpfs")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MiB."""
    with mounted(tmp_path / "disk", f"size={DISK_BYTES}") as path:
        yield path


class Listener:
    """What a recording told."""

    def __init__(self) -> None:
        self.errors: list[StorageError] = []
        self.keyframe_requests: list[int] = []
        self.segments: list[str] = []
        self.callbacks = RecordingCallbacks(
            on_error=self.errors.append,
            on_keyframe_request=self.keyframe_requests.append,
            on_segment=lambda segment: self.segments.append(segment.id),
        )


def fill(disk: Path) -> Path:
    """Take all the space that is left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        while os.statvfs(disk).f_bavail:
            file.write(bytes(4096))
    return filler


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def settle(recording: Recording) -> None:
    """Until the writer has worked off all frames."""
    until(lambda: recording.stats.queue_bytes == 0)


def payloads(view: RecordingView, number: int) -> list[bytes]:
    track = view.tracks[number]
    return [payload for data in files_by_init(view, track) for payload in packet_payloads(data)]


def test_a_full_disk_costs_what_came_while_it_was_full(disk: Path) -> None:
    listener = Listener()
    recording = Recording.create(disk, "one", "room", started_at=START, config=CONFIG, callbacks=listener.callbacks)
    picture, sound = video(Codec.VP8, frames=600, gop=60), opus(packets=1000)
    tracks = [
        (recording.open_track(descriptor(Codec.VP8, "TR_v"), START), picture, 30),
        (recording.open_track(descriptor(Codec.OPUS, "TR_a"), START), sound, 50),
    ]

    def write(from_s: int, to_s: int) -> None:
        for track, frames, per_second in tracks:
            for frame in frames[from_s * per_second : to_s * per_second]:
                track.write(frame)
        recording.append_event(TimelineEvent("second", START + to_s))
        settle(recording)
        recording.tick(START + to_s)

    write(0, 8)
    assert recording.state is RecordingState.RECORDING
    filler = fill(disk)
    write(8, 11)
    until(lambda: recording.state is RecordingState.STORAGE_ERROR)
    assert [type(error) for error in listener.errors] == [DiskFull]
    assert list_recordings(disk)[0].problem == ""
    assert read_recording(recording.path).tracks[0].samples > 0
    write(11, 13)
    filler.unlink()
    write(13, 14)
    until(lambda: recording.state is RecordingState.RECORDING)
    assert 1 in listener.keyframe_requests
    write(14, 20)
    assert recording.close(START + 20) is RecordingState.COMPLETE

    assert verify_recording(recording.path).problems == ()
    view = read_recording(recording.path)
    assert listener.segments
    assert sorted(listener.segments) == sorted(s.id for track in view.tracks for s in track.segments)
    for number, frames in enumerate((picture, sound)):
        track = view.tracks[number]
        kept = payloads(view, number)
        (gap,) = [gap for gap in track.gaps if gap.reason is GapReason.STORAGE]
        assert len(kept) + gap.frames_lost == len(frames)
        times = [frame.rtp_timestamp - frames[0].rtp_timestamp for frame in frames]
        first_lost = times.index(gap.decode_time)
        assert kept[:first_lost] == [frame.data for frame in frames[:first_lost]]
        assert kept[first_lost:] == [frame.data for frame in frames[first_lost + gap.frames_lost :]]
        assert gap.decode_time + gap.duration == times[first_lost + gap.frames_lost]
        assert any(s.discontinuity and s.decode_time == gap.decode_time + gap.duration for s in track.segments)
    assert recording.stats.frames_lost_storage + recording.stats.frames_refused == sum(
        gap.frames_lost for track in view.tracks for gap in track.gaps
    )
    assert len(list(read_events(recording.path))) == 5
    assert list_recordings(disk)[0].state is RecordingState.COMPLETE
    assert not list(disk.rglob("*.part"))


@contextmanager
def files_limited_to(size_bytes: int) -> Iterator[None]:
    """No file of this process may grow beyond that: a disk that is full for all of them, for any user."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_stays_full_leaves_a_recording_that_can_be_gone_on_with(tmp_path: Path) -> None:
    recording = Recording.create(tmp_path, "one", "room", started_at=START, config=CONFIG)
    frames = opus(packets=1000)
    track = recording.open_track(descriptor(Codec.OPUS), START)
    for frame in frames[:400]:
        track.write(frame)
    settle(recording)
    # Less than the journal has: not even a line can be added.
    with files_limited_to(1000):
        for frame in frames[400:]:
            track.write(frame)
        assert recording.close(START + 20) is RecordingState.INTERRUPTED
    assert read_recording(recording.path).state is RecordingState.INTERRUPTED
    kept = read_recording(recording.path).tracks[0].samples
    assert kept == 300
    Recording.resume(recording.path, START + 30).close(START + 31)
    assert verify_recording(recording.path).problems == ()
    view = read_recording(recording.path)
    assert kept < view.tracks[0].samples < 1000
    assert payloads(view, 0) == [frame.data for frame in frames[: view.tracks[0].samples]]


def test_no_recording_begins_on_a_full_disk(disk: Path) -> None:
    filler = fill(disk)
    with pytest.raises(DiskFull):
        Recording.create(disk, "one", "room", started_at=START)
    filler.unlink()
    assert list_recordings(disk) == ()
    Recording.create(disk, "one", "room", started_at=START).close(START)


def test_a_limit_on_file_size_is_a_full_disk(tmp_path: Path) -> None:
    listener = Listener()
    recording = Recording.create(tmp_path, "one", "room", started_at=START, config=CONFIG, callbacks=listener.callbacks)
    track = recording.open_track(descriptor(Codec.OPUS), START)
    frames = opus(packets=1000)
    with files_limited_to(20_000):
        for frame in frames[:500]:
            track.write(frame)
        until(lambda: recording.state is RecordingState.STORAGE_ERROR)
        settle(recording)
        report = verify_recording(recording.path)
        assert list(recording.path.rglob("*.part")), "what its writer will finish"
        assert (report.state, report.problems) == (RecordingState.STORAGE_ERROR, ())
        recording.tick(START + 100)
    recording.tick(START + 200)
    until(lambda: recording.state is RecordingState.RECORDING)
    for frame in frames[500:]:
        track.write(frame)
    recording.close(START + 20)
    assert isinstance(listener.errors[0], DiskFull)
    assert verify_recording(recording.path).problems == ()
    view = read_recording(recording.path)
    (gap,) = view.tracks[0].gaps
    assert view.tracks[0].samples + gap.frames_lost == 1000
    assert payloads(view, 0)[-500:] == [frame.data for frame in frames[500:]]


def test_a_place_that_cannot_be_written_to_says_so(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        place = tmp_path / "place"
        place.mkdir(mode=0o500)
        with pytest.raises(DiskReadOnly):
            Recording.create(place, "one", "room", started_at=START)
        return
    with mounted(tmp_path / "place", "size=1m,ro") as place, pytest.raises(DiskReadOnly):
        Recording.create(place, "one", "room", started_at=START)


@contextmanager
def not_permitted(folder: Path) -> Iterator[None]:
    """This process may not write to `folder`; root is told so by being somebody else for as long."""
    is_root = os.geteuid() == 0
    folder.chmod(0o755 if is_root else 0o500)
    if is_root:
        os.seteuid(65_534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o755)


def test_a_folder_whose_permissions_are_mended_is_written_to_again(tmp_path: Path) -> None:
    listener = Listener()
    recording = Recording.create(tmp_path, "one", "room", started_at=START, config=CONFIG, callbacks=listener.callbacks)
    track = recording.open_track(descriptor(Codec.OPUS), START)
    frames = opus(packets=1000)
    for frame in frames[:250]:
        track.write(frame)
    settle(recording)
    with not_permitted(recording.path):
        for frame in frames[250:500]:
            track.write(frame)
        until(lambda: recording.state is RecordingState.STORAGE_ERROR)
        settle(recording)
        recording.tick(START + 40)
        until(lambda: recording._writer.ticks_handled == recording._ticks_put)
        assert recording.state is RecordingState.STORAGE_ERROR
    recording.tick(START + 100)
    until(lambda: recording.state is RecordingState.RECORDING)
    for frame in frames[500:]:
        track.write(frame)
    assert recording.close(START + 20) is RecordingState.COMPLETE
    assert [type(error) for error in listener.errors] == [DiskReadOnly]
    assert verify_recording(recording.path).problems == ()
    view = read_recording(recording.path)
    (gap,) = view.tracks[0].gaps
    assert gap.reason is GapReason.STORAGE
    assert view.tracks[0].samples + gap.frames_lost == 1000
    assert payloads(view, 0)[-500:] == [frame.data for frame in frames[500:]]


def test_a_folder_taken_away_is_a_storage_error_and_not_the_end(tmp_path: Path) -> None:
    listener = Listener()
    recording = Recording.create(tmp_path, "one", "room", started_at=START, config=CONFIG, callbacks=listener.callbacks)
    (recording.path / "tracks").write_text("a file where a folder should be")
    track = recording.open_track(descriptor(Codec.OPUS), START)
    frames: list[EncodedFrame] = opus(packets=400)
    for frame in frames[:100]:
        track.write(frame)
    until(lambda: recording.state is RecordingState.STORAGE_ERROR)
    settle(recording)
    (recording.path / "tracks").unlink()
    recording.tick(START + 10)
    until(lambda: recording.state is RecordingState.RECORDING)
    for frame in frames[100:]:
        track.write(frame)
    recording.close(START + 20)
    report = verify_recording(recording.path)
    assert report.problems == ()
    assert report.samples == 300


def test_each_folder_that_was_made_outlives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(Path(f"/proc/self/fd/{descriptor}").readlink()))
    make_directory(tmp_path / "a" / "b" / "c")
    assert sorted(synced) == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
    make_directory(tmp_path / "a" / "b" / "c")
    assert synced[3:] == [tmp_path / "a" / "b"]


def test_a_publisher_whose_pictures_fit_no_file_costs_nobody_else_anything(tmp_path: Path) -> None:
    listener = Listener()
    recording = Recording.create(tmp_path, "one", "room", started_at=START, config=CONFIG, callbacks=listener.callbacks)
    sound = recording.open_track(descriptor(Codec.OPUS, "TR_a"), START)
    picture = recording.open_track(descriptor(Codec.VP9, "TR_v"), START)
    for frame in video(Codec.VP9, frames=30):
        picture.write(replace(frame, width=70_000, height=90) if frame.sync_sample else frame)
    for frame in opus(packets=100):
        sound.write(frame)
    assert recording.close(START + 3) is RecordingState.COMPLETE
    assert listener.errors == []
    assert recording.stats.frames_refused == 30
    assert [track.samples for track in read_recording(recording.path).tracks] == [100, 0]


def test_a_track_that_closes_while_the_disk_refuses_is_closed(disk: Path) -> None:
    recording = Recording.create(disk, "one", "room", started_at=START, config=CONFIG)
    track = recording.open_track(descriptor(Codec.OPUS), START)
    for frame in opus(packets=40):
        track.write(frame)
    settle(recording)
    filler = fill(disk)
    # What is in memory cannot be written.
    track.close(START + 1)
    until(lambda: recording.state is RecordingState.STORAGE_ERROR)
    filler.unlink()
    recording.tick(START + 10)
    until(lambda: recording.state is RecordingState.RECORDING)
    recording.close(START + 20)
    closed = [record.entry for record in read_journal(recording.path).records if isinstance(record.entry, TrackClosed)]
    assert closed == [TrackClosed(track.number)]
    assert verify_recording(recording.path).problems == ()


def test_a_camera_that_goes_while_the_disk_refuses_has_no_place_in_the_next_muxed_file(disk: Path) -> None:
    config = replace(CONFIG, mux_participants=True)
    recording = Recording.create(disk, "one", "room", started_at=START, config=config)
    picture, sound = video(Codec.H264, frames=90), opus(packets=500)
    camera = recording.open_track(descriptor(Codec.H264, "TR_v"), START)
    microphone = recording.open_track(descriptor(Codec.OPUS, "TR_a"), START)
    for index in range(150):
        microphone.write(sound[index])
        if index < 90:
            camera.write(picture[index])
    settle(recording)
    filler = fill(disk)
    camera.close(START + 3)
    until(lambda: recording.state is RecordingState.STORAGE_ERROR)
    filler.unlink()
    recording.tick(START + 10)
    until(lambda: recording.state is RecordingState.RECORDING)
    for frame in sound[150:]:
        microphone.write(frame)
    recording.close(START + 20)
    view = read_recording(recording.path)
    assert [entry.tracks for entry in view.muxed] == [(camera.number, microphone.number), (microphone.number,)]
    assert verify_recording(recording.path).problems == ()


def test_a_muxed_file_after_a_storage_error_begins_where_its_media_do(disk: Path) -> None:
    config = replace(CONFIG, mux_participants=True)
    recording = Recording.create(disk, "one", "room", started_at=START, config=config)
    track = recording.open_track(descriptor(Codec.OPUS), START)
    # A segment began, of which nothing is written yet.
    for frame in opus(packets=40):
        track.write(frame)
    settle(recording)
    filler = fill(disk)
    recording.tick(START + 2)
    until(lambda: recording.state is RecordingState.STORAGE_ERROR)
    filler.unlink()
    recording.tick(START + 60)
    until(lambda: recording.state is RecordingState.RECORDING)
    for frame in opus(packets=100, first_rtp=77_000 + 60 * 48_000, start=START + 60):
        track.write(frame)
    recording.close(START + 62)
    (entry,) = read_recording(recording.path).muxed
    assert entry.start_media_time_s == pytest.approx(60, abs=0.05)
    assert entry.duration_s == pytest.approx(2, abs=0.05)


def test_a_muxed_file_whose_line_is_refused_once_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals: list[DiskFull] = []
    append, flush = Journal.append, Journal.flush

    def noting_append(journal: Journal, entry: JournalEntry, at: float) -> None:
        append(journal, entry, at)
        if isinstance(entry, MuxedFileEntry) and not refusals:
            refusals.append(DiskFull("the journal cannot grow; free some space"))

    def refusing_flush(journal: Journal) -> None:
        if len(refusals) == 1:
            refusals.append(refusals[0])
            raise refusals[0]
        flush(journal)

    monkeypatch.setattr(Journal, "append", noting_append)
    monkeypatch.setattr(Journal, "flush", refusing_flush)
    config = replace(CONFIG, mux_participants=True)
    recording = Recording.create(tmp_path, "one", "room", started_at=START, config=config)
    track = recording.open_track(descriptor(Codec.OPUS), START)
    for frame in opus(packets=100):
        track.write(frame)
    track.close(START + 2)
    until(lambda: recording.state is RecordingState.STORAGE_ERROR)
    recording.tick(START + 10)
    until(lambda: recording.state is RecordingState.RECORDING)
    recording.close(START + 20)
    entries = [record.entry for record in read_journal(recording.path).records]
    assert len([entry for entry in entries if isinstance(entry, MuxedFileEntry)]) == 1
    assert verify_recording(recording.path).problems == ()
