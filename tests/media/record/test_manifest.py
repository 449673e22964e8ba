"""When the manifest is written, and how: it costs a recorder little, however long it is."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from media.errors import RecordingDamaged, RecordingNotFound
from media.frames import Codec
from media.record.entries import ClockMapping, RecordingStarted, RecordingState, TrackOpened
from media.record.journal import Journal
from media.record.journal_line import JournalRecord
from media.record.ledger import Ledger
from media.record.manifest import MANIFEST_NAME, ManifestBuilder, read_manifest, read_manifest_state, write_manifest
from media.record.reader import recording_state
from media.record.recorder import Recording
from media.rtp.clock_mapping import ClockSource
from tests.media.record.encoded_media import descriptor, opus
from tests.media.record.test_storage_failures import until

START = 1_000.0


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Of a recording that has just begun."""
    ledger = Ledger(tmp_path, Journal(tmp_path), ManifestBuilder())
    ledger.record(RecordingStarted("one", "room", "", START), START)
    ledger.write_manifest(RecordingState.RECORDING, START)
    yield ledger
    ledger.close()


def each_takes(monkeypatch: pytest.MonkeyPatch, cpu_s: float) -> None:
    """Between two looks at the thread's time that much of it passes."""
    now_s = itertools.count(step=cpu_s)
    monkeypatch.setattr("media.record.ledger.time.thread_time", lambda: next(now_s))


def written_at(path: Path, ledger: Ledger, until_s: float) -> list[float]:
    """When a manifest is written while time passes up to `until_s` after the start, in seconds after it."""
    found = []
    for tick in range(1, int(until_s / 0.25) + 1):
        ledger.tick(START + tick * 0.25, RecordingState.RECORDING, lambda _: None)
        found.append(read_manifest(path).updated_at - START)
    return sorted(set(found) - {0.0})


@pytest.mark.parametrize(("took_s", "expected"), [(0.001, [30, 60, 90, 120]), (0.5, [50, 100])])
def test_a_manifest_that_took_long_is_written_less_often(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, took_s: float, expected: list[float]
) -> None:
    each_takes(monkeypatch, took_s)
    ledger.write_manifest(RecordingState.RECORDING, START)
    assert written_at(tmp_path, ledger, 125) == expected


@pytest.mark.parametrize(("took_s", "expected"), [(0.001, [0.25, 30.25]), (0.1, [10, 40])])
def test_a_track_that_is_new_is_in_the_manifest_soon(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, took_s: float, expected: list[float]
) -> None:
    each_takes(monkeypatch, took_s)
    ledger.write_manifest(RecordingState.RECORDING, START)
    ledger.record(TrackOpened(1, "tracks/1-audio", 48_000, descriptor(Codec.OPUS)), START)
    ledger.outdate_manifest()
    assert written_at(tmp_path, ledger, 45) == expected
    assert len(read_manifest(tmp_path).tracks) == 1


def test_a_manifest_is_one_line_while_it_changes_and_for_people_where_it_stays(tmp_path: Path) -> None:
    recording = Recording.create(tmp_path, "one", "room", started_at=START)
    track = recording.open_track(descriptor(Codec.OPUS), START)
    for frame in opus(packets=400):
        track.write(frame)
    recording.tick(START + 31)
    manifest = recording.path / MANIFEST_NAME
    until(lambda: read_manifest(recording.path).updated_at == START + 31)
    assert manifest.read_bytes().count(b"\n") == 1
    running = read_manifest(recording.path)
    assert (running.tracks[0].segments, len(running.tracks[0].clock_mappings)) == (2, 1)
    recording.pause(START + 32)
    until(lambda: read_manifest(recording.path).state is RecordingState.PAUSED)
    assert b'\n  "state": "paused",\n' in manifest.read_bytes()
    recording.unpause(START + 33)
    recording.close(START + 34)
    assert b'\n  "state": "complete",\n' in manifest.read_bytes()


def test_all_mappings_come_back(tmp_path: Path, ledger: Ledger) -> None:
    ledger.record(TrackOpened(1, "tracks/1-audio", 48_000, descriptor(Codec.OPUS)), START)
    told = [ClockMapping(1, n * 48_000, n * 1.1, 3.5, 0.25, ClockSource.SENDER_REPORT) for n in range(100)]
    for mapping in told:
        ledger.record(mapping, START)
    for readable in (False, True):
        ledger.write_manifest(RecordingState.RECORDING, START, readable=readable)
        (track,) = read_manifest(tmp_path).tracks
        assert (list(track.clock_mappings), track.descriptor) == (told, descriptor(Codec.OPUS))


@pytest.mark.parametrize("readable", [False, True])
@pytest.mark.parametrize("room", ["room", 'a "state":"complete" \\"state\\":"complete"', '"' * 256, "\x01" * 256])
def test_the_state_is_read_alone(tmp_path: Path, room: str, readable: bool) -> None:
    """A listing looks at each recording, and all of a manifest takes 0.7 s where 20 tracks have 5,000 mappings each."""
    journal = Journal(tmp_path)
    builder = ManifestBuilder()
    for entry in (RecordingStarted("one", room, "RM_1", START), TrackOpened(1, "t", 48_000, descriptor(Codec.OPUS))):
        builder.apply(JournalRecord(START, entry))
    for number in range(200):
        builder.apply(JournalRecord(START, ClockMapping(1, number, 0.0, 0.0, 0.0, ClockSource.ARRIVAL)))
    write_manifest(tmp_path, builder.build(RecordingState.PAUSED, START), readable=readable)
    path = tmp_path / MANIFEST_NAME
    assert read_manifest_state(tmp_path) is RecordingState.PAUSED
    path.write_bytes(path.read_bytes()[:10_000])
    assert recording_state(tmp_path, closed=False) is RecordingState.PAUSED
    journal.close()


@pytest.mark.parametrize("content", [b"", b"{}", b'{"state":"unheard_of"}', b"\xff", b"[" * 100_000])
def test_without_a_state_that_makes_sense_it_is_damaged(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MANIFEST_NAME).write_bytes(content)
    with pytest.raises(RecordingDamaged):
        read_manifest_state(tmp_path)
    (tmp_path / MANIFEST_NAME).unlink()
    with pytest.raises(RecordingNotFound):
        read_manifest_state(tmp_path)
