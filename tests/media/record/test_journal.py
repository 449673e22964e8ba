"""Journal lines and files: what is written is read back, and any damage is seen."""

import resource
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.errors import DiskFull, RecordingBusy, StorageError
from media.frames import Codec, MediaKind
from media.record import storage
from media.record.entries import (
    ClockMapping,
    Container,
    GapEntry,
    GapReason,
    InitEntry,
    JournalEntry,
    RecordingClosed,
    RecordingResumed,
    RecordingStarted,
    RtpAnchor,
    SegmentEntry,
    TimelineEvent,
    TrackClosed,
    TrackDescriptor,
    TrackOpened,
    supersede,
)
from media.record.event_log import EventLog, encode_event
from media.record.journal import JOURNAL_NAME, Journal, parse_journal, read_journal
from media.record.journal_line import JournalRecord, decode_line, encode_entry
from media.record.storage import is_locked, write_durably
from media.rtp.clock_mapping import ClockSource
from tests.media.record.waited_lock import while_waiting

ENTRIES: list[JournalEntry] = [
    RecordingStarted("one", "räum \u2028\n\x85", "RM_1", 1000.5),
    TrackOpened(
        1, "tracks/1-video", 90_000, TrackDescriptor("TR", "n", "camera", MediaKind.VIDEO, Codec.VP8, "i", "n", "PA")
    ),
    InitEntry(1, 1, "p", Container.WEBM, Codec.VP8, "vp8", 320, 180, "ab", 9),
    SegmentEntry("one/1/1", 1, 1, "s", "p", "cd", 7, 0, 90, 3, 1, 1, False, True, False, 1001.0),
    RtpAnchor(1, 0, 123456789012),
    ClockMapping(1, 0, 1.25, -3.5, 2.0, ClockSource.SENDER_REPORT),
    GapEntry(1, 5, 6, GapReason.STORAGE, 7),
    RecordingResumed(2),
    TrackClosed(1),
    RecordingClosed(),
]
LINES = [encode_entry(entry, 1000.0 + index) for index, entry in enumerate(ENTRIES)]


def test_what_a_failed_write_left_is_dropped_even_where_dropping_it_failed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path)
    journal.append(ENTRIES[0], 1000.0)
    journal.flush()
    journal.append(ENTRIES[1], 1001.0)
    with monkeypatch.context() as broken:
        broken.setattr("media.record.journal.os.fsync", refuse)
        broken.setattr("media.record.journal.os.ftruncate", refuse)
        with pytest.raises(StorageError):
            journal.flush()
    journal.append(ENTRIES[2], 1002.0)
    journal.flush()
    journal.close()
    assert [record.entry for record in read_journal(tmp_path).records] == ENTRIES[:3]


def refuse(*_: object) -> None:
    raise OSError(5, "no")


def test_every_entry_comes_back() -> None:
    contents = parse_journal(b"".join(LINES))
    assert contents.records == tuple(JournalRecord(1000.0 + n, entry) for n, entry in enumerate(ENTRIES))
    assert (contents.torn_bytes, contents.bad_lines) == (0, ())


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(LINES) - 1), st.data())
def test_any_changed_byte_of_a_line_is_seen(number: int, data: st.DataObject) -> None:
    line = bytearray(LINES[number][:-1])
    at = data.draw(st.integers(0, len(line) - 1))
    line[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError, match=r"checksum|"):
        decode_line(bytes(line))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, sum(map(len, LINES))))
def test_any_cut_leaves_the_whole_lines(cut: int) -> None:
    contents = parse_journal(b"".join(LINES)[:cut])
    assert contents.valid_bytes == max(
        sum(map(len, LINES[:n])) for n in range(len(LINES) + 1) if sum(map(len, LINES[:n])) <= cut
    )
    assert contents.torn_bytes == cut - contents.valid_bytes
    assert contents.bad_lines == ()


def test_a_bad_line_in_the_middle_is_named() -> None:
    contents = parse_journal(LINES[0] + b"noise\n" + LINES[2] + b"torn")
    assert contents.bad_lines == (2,)
    assert len(contents.records) == 2
    assert contents.torn_bytes == 4


def sealed(body: bytes) -> bytes:
    """A line whose checksum is right."""
    return body[:-1] + b',"crc32":"%08x"}\n' % zlib.crc32(body)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"type":"recording_closed"}',
        b'{"type":["recording_closed"],"at":1}',
        b'{"type":"recording_closed","at":"noon"}',
        b'{"type":"segment","at":1,"track":' + b"[" * 500 + b"]" * 500 + b"}",
        b'{"type":"recording_closed","at":' + b"[" * 100_000 + b"}",
        b'{"type":"recording_closed","at":"\xff"}',
    ],
)
def test_a_line_that_somebody_made_up_is_a_bad_one(body: bytes) -> None:
    contents = parse_journal(LINES[0] + sealed(body) + LINES[2])
    assert (contents.bad_lines, len(contents.records)) == ((2,), 2)


def test_lines_of_a_later_version_are_left_alone() -> None:
    line = LINES[-1].replace(b"recording_closed", b"recording_dreamt")
    body = line[: line.rindex(b',"crc32"')] + b"}"
    assert decode_line(sealed(body)) == JournalRecord(1009.0, None)


def test_a_journal_that_cannot_grow_keeps_its_lines_and_what_waits(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(ENTRIES[0], 1.0)
    journal.flush()
    journal.append(ENTRIES[1], 2.0)
    size = (tmp_path / JOURNAL_NAME).stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
    try:
        with pytest.raises(DiskFull):
            journal.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    # Ten bytes of the second line fitted; they are gone again.
    assert (tmp_path / JOURNAL_NAME).stat().st_size == size
    journal.flush()
    journal.close()
    assert [record.entry for record in read_journal(tmp_path).records] == ENTRIES[:2]


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert is_locked(tmp_path / JOURNAL_NAME)
    with pytest.raises(RecordingBusy):
        Journal(tmp_path)
    journal.close()
    journal.close()
    assert not is_locked(tmp_path / JOURNAL_NAME)
    Journal(tmp_path).close()


def test_who_waited_for_a_journal_that_was_replaced_has_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / JOURNAL_NAME
    write_durably(path, LINES[0] + b"torn")
    while_waiting(monkeypatch, tmp_path, lambda: write_durably(path, LINES[0]))
    journal = Journal(tmp_path)
    journal.append(ENTRIES[1], 1001.0)
    journal.flush()
    with pytest.raises(RecordingBusy):
        Journal(tmp_path)
    journal.close()
    assert [record.entry for record in read_journal(tmp_path).records] == ENTRIES[:2]


def test_a_journal_that_is_replaced_all_the_time_is_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, take = tmp_path / JOURNAL_NAME, storage.lock

    def overtaken(descriptor: int, locked: Path) -> None:
        take(descriptor, locked)
        write_durably(path, LINES[0])

    monkeypatch.setattr(storage, "lock", overtaken)
    with pytest.raises(RecordingBusy, match="all the time"):
        Journal(tmp_path)
    assert not is_locked(path)


def test_a_durable_write_leaves_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_durably(path, b"before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(DiskFull):
            write_durably(path, bytes(200))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_newer_mapping_replaces_what_was_said_of_its_time_and_later() -> None:
    def mapping(decode_time: int, media_time_s: float) -> ClockMapping:
        return ClockMapping(1, decode_time, media_time_s, 0.0, 1.0, ClockSource.ARRIVAL)

    first, second, late = mapping(0, 1.0), mapping(100, 2.0), mapping(200, 3.0)
    known = [first, second]
    supersede(known, late)
    assert known == [first, second, late]
    better = mapping(100, 2.5)
    supersede(known, better)
    assert known == [first, better]


def test_the_event_log_goes_on_behind_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    first, second = (encode_event(TimelineEvent("chat", at, "ada", {"n": at}), 1000.0) for at in (1001.0, 1002.0))
    path.write_bytes(first + second[:-5])
    log = EventLog(path)
    log.append(second)
    log.sync(1003.0)
    log.close()
    assert path.read_bytes() == first + second
