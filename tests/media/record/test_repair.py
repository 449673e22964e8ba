"""Damage of all kinds: verify names it, repair makes of it what can be made."""

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from media.errors import RecordingBusy, RecordingDamaged, RecordingNotFound
from media.frames import Codec
from media.record.entries import RecordingState
from media.record.journal import JOURNAL_NAME
from media.record.manifest import MANIFEST_NAME, Manifest, read_manifest
from media.record.reader import RecordingView, list_recordings, read_recording
from media.record.recorder import Recording
from media.record.repair import repair_recording
from media.record.storage import write_durably
from media.record.verify import ProblemCode, verify_recording
from media.rtp.clock_mapping import ClockSource, RtpClockMapping
from tests.media.record.encoded_media import descriptor, files_by_init, opus, packet_payloads, video
from tests.media.record.waited_lock import while_waiting

START = 1_000.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A recording with an audio and a video track, and a clock learnt from sender reports."""
    recording = Recording.create(tmp_path, "one", "room", started_at=START, room_sid="RM_1")
    sound, picture = opus(packets=700, start=START + 1), video(Codec.VP8, frames=450, start=START + 1)
    for sid, frames in (("TR_a", sound), ("TR_v", picture)):
        track = recording.open_track(descriptor(frames[0].codec, sid), START + 1)
        for frame in frames:
            track.write(frame)
        report = RtpClockMapping(frames[0].rtp_timestamp, START + 0.9, 0.0, 1.0, ClockSource.SENDER_REPORT)
        track.set_clock_mapping(report, START + 15)
    recording.close(START + 20)
    return recording.path


def media_of(view: RecordingView) -> list[list[bytes]]:
    return [packet_payloads(data) for track in view.tracks for data in files_by_init(view, track)]


def codes(path: Path) -> set[ProblemCode]:
    return {problem.code for problem in verify_recording(path).problems}


def without_journal(path: Path) -> None:
    (path / JOURNAL_NAME).unlink()


def without_manifest(path: Path) -> None:
    (path / MANIFEST_NAME).unlink()


def without_both(path: Path) -> None:
    without_journal(path)
    without_manifest(path)


def with_a_bad_journal(path: Path) -> None:
    journal = path / JOURNAL_NAME
    lines = journal.read_bytes().splitlines(keepends=True)
    for number in range(0, len(lines) - 1, 2):
        lines[number] = lines[number].replace(b'"at":1', b'"at":2', 1)
    journal.write_bytes(b"".join(lines))


def with_noise_for_a_journal(path: Path) -> None:
    (path / JOURNAL_NAME).write_bytes(bytes(range(256)) * 40)


def without_the_end(path: Path) -> None:
    journal = path / JOURNAL_NAME
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-1]))


@pytest.mark.parametrize(
    "damage", [without_journal, without_manifest, without_both, with_a_bad_journal, with_noise_for_a_journal]
)
def test_repair_brings_back_all_media_and_their_times(path: Path, damage: Callable[[Path], None]) -> None:
    before = read_recording(path)
    media = media_of(before)
    damage(path)
    report = repair_recording(path)
    assert report.recording_id == "one"
    assert report.actions
    after = read_recording(path)
    assert verify_recording(path).problems == ()
    assert media_of(after) == media
    assert (after.room, after.room_sid, after.started_at) == ("room", "RM_1", START)
    for old, new in zip(before.tracks, after.tracks, strict=True):
        assert new.descriptor == old.descriptor
        assert [(s.id, s.sha256, s.decode_time, s.samples, s.init_path) for s in new.segments] == [
            (s.id, s.sha256, s.decode_time, s.samples, s.init_path) for s in old.segments
        ]
        assert new.inits == old.inits
        assert new.rtp_anchors == old.rtp_anchors
        if damage is not without_both:
            # The mapping came after the last segment began, so no media file knows it.
            assert new.media_time_s(0) == old.media_time_s(0) == pytest.approx(0.9)
    if damage is not without_both:
        assert after.state is RecordingState.COMPLETE
    assert repair_recording(path).actions == ()


def test_a_repaired_recording_can_be_gone_on_with(path: Path) -> None:
    without_both(path)
    repair_recording(path)
    recording = Recording.resume(path, START + 100)
    track = recording.open_track(descriptor(Codec.OPUS, "TR_a"), START + 100)
    for frame in opus(packets=100, start=START + 100):
        track.write(frame)
    recording.close(START + 103)
    assert verify_recording(path).problems == ()
    assert read_recording(path).tracks[0].samples == 800


def test_who_waited_for_a_repair_goes_on_in_the_journal_that_it_made(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = path / JOURNAL_NAME
    whole = journal.read_bytes()
    journal.write_bytes(whole + b"torn")
    while_waiting(monkeypatch, path, lambda: write_durably(journal, whole))
    recording = Recording.resume(path, START + 100)
    with pytest.raises(RecordingBusy):
        Recording.resume(path, START + 100)
    track = recording.open_track(descriptor(Codec.OPUS, "TR_a"), START + 100)
    for frame in opus(packets=400, start=START + 100):
        track.write(frame)
    recording.close(START + 110)
    assert verify_recording(path).problems == ()
    assert read_recording(path).tracks[0].samples == 1_100


def test_a_repair_writes_nothing_more_once_its_journal_is_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_a_bad_journal(path)
    without_manifest(path)
    told: list[Manifest] = []

    def replaced(file: Path, data: bytes) -> None:
        if file.name == JOURNAL_NAME:
            told.append(read_manifest(path))
        write_durably(file, data)

    monkeypatch.setattr("media.record.repair.write_durably", replaced)
    repair_recording(path)
    assert told == [read_manifest(path)]


@pytest.mark.parametrize("reason", ["left", "empty", ""])
@pytest.mark.parametrize("damage", [without_journal, with_noise_for_a_journal, without_the_end, without_manifest])
def test_a_repair_keeps_why_the_recording_ended(tmp_path: Path, reason: str, damage: Callable[[Path], None]) -> None:
    recording = Recording.create(tmp_path, "one", "room", started_at=START)
    track = recording.open_track(descriptor(Codec.OPUS), START)
    for frame in opus(packets=100):
        track.write(frame)
    recording.close(START + 2, reason)
    damage(recording.path)
    repair_recording(recording.path)
    view, manifest = read_recording(recording.path), read_manifest(recording.path)
    assert (view.state, view.ended_reason, view.ended_at) == (RecordingState.COMPLETE, reason, START + 2)
    assert (manifest.state, manifest.ended_reason, manifest.ended_at) == (view.state, reason, START + 2)
    assert repair_recording(recording.path).actions == ()


def test_a_repair_ends_no_recording_that_its_writer_left_open(tmp_path: Path) -> None:
    recording = Recording.create(tmp_path, "one", "room", started_at=START)
    track = recording.open_track(descriptor(Codec.OPUS), START)
    for frame in opus(packets=400):
        track.write(frame)
    while recording.stats.frames_written < 350:
        time.sleep(0.01)
    copy = tmp_path / "copy"
    shutil.copytree(recording.path, copy)
    recording.close(START + 9, "empty")
    without_manifest(copy)
    repair_recording(copy)
    manifest = read_manifest(copy)
    assert (manifest.state, manifest.ended_reason) == (RecordingState.INTERRUPTED, "")
    assert Recording.resume(copy, START + 30).close(START + 31, "left") is RecordingState.COMPLETE
    assert read_manifest(copy).ended_reason == "left"


def test_the_damaged_journal_is_kept(path: Path) -> None:
    with_a_bad_journal(path)
    bad = (path / JOURNAL_NAME).read_bytes()
    with pytest.raises(RecordingDamaged, match="repair"):
        read_recording(path)
    with pytest.raises(RecordingDamaged):
        Recording.resume(path, START)
    assert list_recordings(path.parent)[0].problem == ""
    repair_recording(path)
    assert (path / f"{JOURNAL_NAME}.damaged-1").read_bytes() == bad


def test_verify_names_what_is_wrong_with_files(path: Path) -> None:
    view = read_recording(path)
    first, second, third = view.tracks[0].segments
    assert codes(path) == set()
    data = view.file_of(first).read_bytes()
    view.file_of(first).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert codes(path) == {ProblemCode.HASH_DIFFERS}
    view.file_of(first).write_bytes(data[:-10])
    assert codes(path) == {ProblemCode.SIZE_DIFFERS, ProblemCode.SEGMENT_TORN, ProblemCode.SAMPLES_DIFFER}
    view.file_of(first).write_bytes(data)
    view.file_of(second).rename(view.file_of(second).with_name("hidden"))
    assert codes(path) == {ProblemCode.FILE_MISSING}
    repair_recording(path)
    assert codes(path) == {ProblemCode.SEGMENT_NUMBER_MISSING}
    assert [gap.decode_time for gap in read_recording(path).tracks[0].gaps] == [second.decode_time]
    view.file_of(third).with_name("000009.m4s.part").write_bytes(data)
    view.file_of(third).with_name("000010.m4s").write_bytes(data)
    assert codes(path) >= {ProblemCode.SEGMENT_UNFINISHED, ProblemCode.SEGMENT_UNLISTED}


def test_repair_finds_a_segment_that_came_back(path: Path) -> None:
    view = read_recording(path)
    file = view.file_of(view.tracks[1].segments[1])
    hidden = file.with_name("hidden")
    file.rename(hidden)
    repair_recording(path)
    hidden.rename(file)
    assert ProblemCode.SEGMENT_UNLISTED in codes(path)
    repair_recording(path)
    assert [segment.sequence for segment in read_recording(path).tracks[1].segments] == [1, 2, 3]
    assert media_of(read_recording(path)) == media_of(view)


def test_repair_keeps_off_a_running_recording_and_off_strangers(tmp_path: Path) -> None:
    running = Recording.create(tmp_path, "two", "room", started_at=START)
    with pytest.raises(RecordingBusy):
        repair_recording(running.path)
    running.close(START)
    with pytest.raises(RecordingNotFound):
        repair_recording(tmp_path / "nothing")


def test_init_segments_are_made_again_from_the_pictures(path: Path) -> None:
    before = read_recording(path)
    for number, track in enumerate(before.tracks):
        file = before.path / track.inits[0].path
        if number:
            file.write_bytes(file.read_bytes()[:-1])
        else:
            file.unlink()
    assert codes(path) == {ProblemCode.FILE_MISSING, ProblemCode.SIZE_DIFFERS}
    assert len(repair_recording(path).actions) == 2
    after = read_recording(path)
    assert codes(path) == set()
    assert [track.inits for track in after.tracks] == [track.inits for track in before.tracks]
    assert media_of(after) == media_of(before)


@pytest.mark.parametrize("number", [0, 1])
def test_what_is_whole_of_a_cut_segment_is_kept(path: Path, number: int) -> None:
    before = read_recording(path).tracks[number]
    segment = before.segments[1]
    file = path / segment.path
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    repair_recording(path)
    assert codes(path) == set()
    after = read_recording(path).tracks[number]
    kept = after.segments[1]
    assert 0 < kept.samples < segment.samples
    assert kept.recovered
    (gap,) = after.gaps
    assert (gap.decode_time, gap.decode_time + gap.duration) == (kept.end_decode_time, segment.end_decode_time)
    assert file.with_name(f"{file.name}.damaged-1").read_bytes() == data[: len(data) // 2]
    assert repair_recording(path).actions == ()


@pytest.mark.parametrize("number", [0, 1])
def test_a_broken_segment_that_no_line_tells_of_is_kept_as_it_was(path: Path, number: int) -> None:
    segment = read_recording(path).tracks[number].segments[1]
    file, journal = path / segment.path, path / JOURNAL_NAME
    data = bytearray(file.read_bytes())
    middle = len(data) // 2
    data[middle : middle + len(data) // 4] = bytes(len(data) // 4)
    file.write_bytes(data)
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(line for line in lines if segment.sha256.encode() not in line))
    actions = repair_recording(path).actions
    assert codes(path) == set()
    assert file.with_name(f"{file.name}.damaged-1").read_bytes() == data
    assert any("what was there is in" in action for action in actions)
    assert 0 < read_recording(path).tracks[number].segments[1].samples < segment.samples
    assert repair_recording(path).actions == ()


def test_the_torn_tail_of_an_unfinished_segment_is_not_kept(path: Path) -> None:
    segment = read_recording(path).tracks[0].segments[-1]
    file, journal = path / segment.path, path / JOURNAL_NAME
    file.rename(file.with_name(file.name + ".part"))
    with file.with_name(file.name + ".part").open("ab") as unfinished:
        unfinished.write(bytes(100))
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(line for line in lines if segment.sha256.encode() not in line))
    repair_recording(path)
    assert codes(path) == set()
    assert read_recording(path).tracks[0].segments[-1].sha256 == segment.sha256
    assert not list(path.rglob("*.damaged-*"))


@pytest.mark.parametrize("damage", [lambda _: None, without_both])
def test_a_segment_with_nothing_in_it_is_set_aside(path: Path, damage: Callable[[Path], None]) -> None:
    segment = read_recording(path).tracks[1].segments[1]
    (path / segment.path).write_bytes(b"")
    damage(path)
    repair_recording(path)
    assert codes(path) == {ProblemCode.SEGMENT_NUMBER_MISSING}
    (gap,) = read_recording(path).tracks[1].gaps
    assert (gap.decode_time, gap.duration) == (segment.decode_time, segment.duration)


def test_frames_at_uneven_distances_end_where_the_next_segment_starts(tmp_path: Path) -> None:
    recording = Recording.create(tmp_path, "one", "room", started_at=START)
    track = recording.open_track(descriptor(Codec.VP8), START)
    for index, frame in enumerate(video(Codec.VP8, frames=450, gop=30, start=START)):
        late = 2_700 if index % 60 < 30 else 0
        track.write(replace(frame, rtp_timestamp=frame.rtp_timestamp + late))
    recording.close(START + 16)
    before = read_recording(recording.path)
    assert len(before.tracks[0].segments) > 2
    without_both(recording.path)
    repair_recording(recording.path)
    assert codes(recording.path) == set()
    after = read_recording(recording.path).tracks[0]
    assert [s.end_decode_time for s in after.segments[:-1]] == [
        s.end_decode_time for s in before.tracks[0].segments[:-1]
    ]
    assert after.gaps == before.tracks[0].gaps
