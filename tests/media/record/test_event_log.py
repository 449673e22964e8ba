"""Lines of data.jsonl: none is too long, and what a disk that refuses costs is counted."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from media.errors import StorageError
from media.record.entries import JsonValue, TimelineEvent
from media.record.event_log import EventLog, encode_event
from media.record.reader import read_events
from media.record.recorder import Recording

START = 1_000.0


def text(characters: int, at: float = START) -> TimelineEvent:
    payload: Mapping[str, JsonValue] = {"topic": "lk.chat", "text": "é" * characters}
    return TimelineEvent("text", at, "ada", payload)


def test_the_longest_text_that_comes_is_kept_whole(tmp_path: Path) -> None:
    recording = Recording.create(tmp_path, "one", "room", started_at=START)
    told = [text(10), text(1_000_000), text(700_000), text(20)]
    assert all(recording.append_event(event) for event in told)
    recording.close(START + 1)
    assert [event["payload"] for event in read_events(recording.path)] == [dict(event.payload) for event in told]
    assert recording.stats.events_lost == 0


@pytest.mark.parametrize("fails", ["pread", "ftruncate", "lseek"])
def test_a_log_that_cannot_be_opened_at_once_keeps_what_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    path = tmp_path / "data.jsonl"
    lines = [encode_event(text(size), START) for size in range(6)]
    path.write_bytes(b"".join(lines[:5]) + b"a torn li")
    log = EventLog(path)
    log.append(lines[5])

    def refuse(*_arguments: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as disk:
        disk.setattr(os, fails, refuse)
        with pytest.raises(StorageError):
            log.flush()
    log.flush()
    log.close()
    assert path.read_bytes() == b"".join(lines)


def test_what_a_disk_that_refuses_makes_us_hold_is_bounded_and_counted(tmp_path: Path) -> None:
    place = tmp_path / "later"
    log = EventLog(place / "data.jsonl")
    kept = [text(300_000), text(100_000)]
    for event in [*kept, text(200_000), text(300_000)]:
        log.append(encode_event(event, START))
    with pytest.raises(StorageError):
        log.flush()
    assert log.lost == 2
    place.mkdir()
    log.flush()
    log.append(encode_event(text(5), START))
    log.sync(START)
    log.close()
    assert [event["payload"] for event in read_events(place)] == [dict(event.payload) for event in [*kept, text(5)]]
