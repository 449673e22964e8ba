"""An fsync that failed is never believed the second time: Linux says that all is well then, and it need not be."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from media.errors import StorageError
from media.frames import Codec
from media.record.entries import GapReason, RecordingState, TimelineEvent
from media.record.event_log import EventLog, encode_event
from media.record.reader import read_events, read_recording
from media.record.recorder import Recording
from media.record.recording_writer import RecordingConfig
from media.record.repair import repair_recording
from media.record.verify import ProblemCode, verify_recording
from tests.media.record.encoded_media import descriptor, files_by_init, opus, packet_payloads
from tests.media.record.failing_fsync import FailingFsync
from tests.media.record.test_storage_failures import settle, until

START = 1_000.0
CONFIG = RecordingConfig(probe_bytes=64 << 10, retry_max_s=1.0)
FRAMES = opus(packets=1_000)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[FailingFsync]:
    failing = FailingFsync(monkeypatch)
    yield failing
    failing.close()


def is_segment(path: Path) -> bool:
    return path.name.endswith(".m4s.part")


def record_past_a_failure(root: Path, config: RecordingConfig = CONFIG) -> Recording:
    """400 packets, a disk that fails meanwhile, and 500 more once it answers again."""
    recording = Recording.create(root, "one", "room", started_at=START, config=config)
    track = recording.open_track(descriptor(Codec.OPUS), START)
    for frame in FRAMES[:400]:
        track.write(frame)
    until(lambda: recording.state is RecordingState.STORAGE_ERROR)
    settle(recording)
    recording.tick(START + 8)
    recording.tick(START + 10)
    until(lambda: recording.state is RecordingState.RECORDING)
    for frame in FRAMES[500:]:
        track.write(frame)
    return recording


def kept(recording: Recording) -> list[bytes]:
    view = read_recording(recording.path)
    return [payload for data in files_by_init(view, view.tracks[0]) for payload in packet_payloads(data)]


def test_a_segment_whose_fsync_failed_goes_on_in_a_new_file(tmp_path: Path, disk: FailingFsync) -> None:
    disk.fails = is_segment
    recording = record_past_a_failure(tmp_path)
    disk.fails = lambda _: False
    assert recording.close(START + 20) is RecordingState.COMPLETE
    assert verify_recording(recording.path).problems == ()
    segments = read_recording(recording.path).tracks[0].segments
    assert disk.doubtful
    assert all(disk.vouches_for(recording.path / segment.path) for segment in segments)
    assert kept(recording)[:300] == [frame.data for frame in FRAMES[:300]]
    assert kept(recording)[-500:] == [frame.data for frame in FRAMES[500:]]
    assert not [path for path in recording.path.rglob("*") if path.suffix in {".part", ".again"}]


def test_a_segment_that_was_renamed_is_made_anew_where_the_folders_fsync_failed(
    tmp_path: Path, disk: FailingFsync
) -> None:
    named = tmp_path / "one/tracks/1-audio/000001.m4s"
    before: list[int] = []

    def folder_fails(path: Path) -> bool:
        if path != named.parent or not named.exists():
            return False
        before.append(named.stat().st_ino)
        return True

    disk.fails = folder_fails
    recording = record_past_a_failure(tmp_path)
    assert recording.close(START + 20) is RecordingState.COMPLETE
    assert before
    assert named.stat().st_ino not in before
    assert verify_recording(recording.path).problems == ()
    assert kept(recording)[:300] == [frame.data for frame in FRAMES[:300]]


def test_parts_with_an_fsync_each_are_not_believed_either(tmp_path: Path, disk: FailingFsync) -> None:
    disk.fails = lambda path: is_segment(path) and path.stat().st_size > 40_000
    recording = record_past_a_failure(tmp_path, replace(CONFIG, fsync_parts=True))
    disk.fails = lambda _: False
    recording.close(START + 20)
    assert verify_recording(recording.path).problems == ()
    segments = read_recording(recording.path).tracks[0].segments
    assert disk.doubtful
    assert all(disk.vouches_for(recording.path / segment.path) for segment in segments)


def test_a_muxed_file_whose_fsync_failed_goes_on_in_a_new_file(tmp_path: Path, disk: FailingFsync) -> None:
    recording = Recording.create(
        tmp_path, "one", "room", started_at=START, config=replace(CONFIG, mux_participants=True)
    )
    track = recording.open_track(descriptor(Codec.OPUS), START)
    for frame in FRAMES[:100]:
        track.write(frame)
    disk.fails = lambda path: "participants" in path.parts and path.suffix == ".part"
    track.close(START + 2)
    until(lambda: recording.state is RecordingState.STORAGE_ERROR)
    recording.tick(START + 10)
    until(lambda: recording.state is RecordingState.RECORDING)
    recording.close(START + 20)
    (entry,) = read_recording(recording.path).muxed
    assert disk.doubtful
    assert disk.vouches_for(recording.path / entry.path)
    assert entry.samples == 100
    assert verify_recording(recording.path).problems == ()


def test_what_the_disk_lost_is_a_gap_and_its_file_stays(tmp_path: Path, disk: FailingFsync) -> None:
    disk.fails, disk.drop = lambda path: path.name == "000001.m4s.part", True
    recording = record_past_a_failure(tmp_path)
    assert recording.close(START + 20) is RecordingState.COMPLETE
    (track,) = read_recording(recording.path).tracks
    assert [segment.sequence for segment in track.segments] == [2, 3]
    first, *_ = track.gaps
    assert (first.decode_time, first.duration, first.reason) == (0, 300 * 960, GapReason.STORAGE)
    assert first.frames_lost == 300
    assert recording.stats.frames_lost_storage == sum(gap.frames_lost for gap in track.gaps)
    assert (recording.path / "tracks/1-audio/000001.m4s.part").exists()
    assert [item.code for item in verify_recording(recording.path).problems] == [ProblemCode.SEGMENT_UNFINISHED]
    assert kept(recording)[-500:] == [frame.data for frame in FRAMES[500:]]


def test_what_was_left_behind_after_a_failed_fsync_is_written_anew_by_who_goes_on(
    tmp_path: Path, disk: FailingFsync
) -> None:
    disk.fails = lambda path: ".m4s" in path.name
    recording = Recording.create(tmp_path, "one", "room", started_at=START, config=CONFIG)
    track = recording.open_track(descriptor(Codec.OPUS), START)
    for frame in FRAMES[:200]:
        track.write(frame)
    assert recording.close(START + 4) is RecordingState.INTERRUPTED
    disk.fails = lambda _: False
    Recording.resume(recording.path, START + 30).close(START + 31)
    (segment,) = read_recording(recording.path).tracks[0].segments
    assert disk.vouches_for(recording.path / segment.path)
    assert verify_recording(recording.path).problems == ()
    assert kept(recording) == [frame.data for frame in FRAMES[:200]]


def test_a_repair_finds_what_is_whole_of_a_segment_that_was_given_up(tmp_path: Path, disk: FailingFsync) -> None:
    disk.fails, disk.drop = lambda path: path.name == "000001.m4s.part", True
    recording = record_past_a_failure(tmp_path)
    recording.close(START + 20)
    disk.fails = lambda _: False
    repair_recording(recording.path)
    assert verify_recording(recording.path).problems == ()
    found = read_recording(recording.path).tracks[0].segments[0]
    assert (found.sequence, found.recovered) == (1, True)
    # The half that is left ends within the third part, whose boxes say nothing of that.
    assert (found.parts, found.samples) == (3, 150)
    assert kept(recording)[:100] == [frame.data for frame in FRAMES[:100]]


def test_lines_whose_fsync_failed_are_written_again(tmp_path: Path, disk: FailingFsync) -> None:
    log = EventLog(tmp_path / "data.jsonl")
    lines = [
        encode_event(TimelineEvent("text", START + index, payload={"text": f"{index}"}), START) for index in (0, 1)
    ]
    log.append(lines[0])
    log.sync(START)
    log.append(lines[1])
    disk.fails = lambda path: path.name == "data.jsonl"
    with pytest.raises(StorageError):
        log.sync(START + 1)
    # The pages are gone, and read back as they are on the disk.
    with (tmp_path / "data.jsonl").open("r+b") as file:
        file.seek(len(lines[0]))
        file.write(bytes(len(lines[1])))
    log.append(encode_event(TimelineEvent("text", START + 2, payload={"text": "2"}), START))
    log.sync(START + 2)
    log.close()
    assert [event["payload"] for event in read_events(tmp_path)] == [{"text": f"{index}"} for index in range(3)]
