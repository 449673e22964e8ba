"""Handing off segments: all of them, at least once, in order per track, whatever fails or restarts."""

import asyncio
from pathlib import Path

import pytest

from media.errors import DataLost, DiskFull, DiskReadOnly, ExportError, MediaError, StorageError
from media.frames import Codec
from media.record.entries import SegmentEntry
from media.record.handoff import Handoff, HandoffConfig
from media.record.handoff_cursor import CURSOR_NAME, HandoffCursor, read_cursor
from media.record.recorder import Recording
from media.record.recording_writer import RecordingCallbacks
from tests.media.record.encoded_media import descriptor, opus

START = 1_000.0
QUICK = HandoffConfig(retry_first_s=0.01, retry_max_s=0.02)


class Sink:
    """Takes segments, after as many failures as it is told to have."""

    def __init__(self, failures: dict[str, list[Exception]] | None = None) -> None:
        self.taken: list[str] = []
        self.failures = failures or {}
        self.second = asyncio.Event()

    async def hand_off(self, segment: SegmentEntry, recording_path: Path) -> None:
        assert (recording_path / segment.path).stat().st_size == segment.size_bytes
        planned = self.failures.get(segment.id)
        if planned:
            raise planned.pop(0)
        self.taken.append(segment.id)
        if len(self.taken) == 2:
            self.second.set()


def recorded(root: Path, tracks: int = 2, packets: int = 1000) -> Path:
    recording = Recording.create(root, "one", "room", started_at=START)
    frames = opus(packets=packets)
    for number in range(tracks):
        track = recording.open_track(descriptor(Codec.OPUS, f"TR_{number}"), START)
        for frame in frames:
            track.write(frame)
    recording.close(START + 99)
    return recording.path


ALL = [f"one/{track}/{sequence}" for track in (1, 2) for sequence in (1, 2, 3, 4)]


def of_track(ids: list[str], track: int) -> list[str]:
    return [item for item in ids if item.startswith(f"one/{track}/")]


async def test_hands_off_all_in_order_and_not_again(tmp_path: Path) -> None:
    path = recorded(tmp_path)
    sink = Sink()
    handoff = Handoff(path, sink, QUICK)
    await handoff.drain()
    await handoff.aclose()
    await handoff.aclose()
    assert sorted(sink.taken) == ALL
    assert all(of_track(sink.taken, track) == of_track(ALL, track) for track in (1, 2))
    again = Sink()
    second = Handoff(path, again, QUICK)
    await second.drain()
    await second.aclose()
    assert again.taken == []


async def test_a_failing_track_is_tried_again_and_holds_back_only_itself(tmp_path: Path) -> None:
    path = recorded(tmp_path)
    sink = Sink({"one/1/2": [StorageError("down"), StorageError("still down")]})
    handoff = Handoff(path, sink, QUICK)
    await handoff.drain()
    await handoff.aclose()
    assert of_track(sink.taken, 1) == of_track(ALL, 1)
    assert sink.taken.index("one/2/3") < sink.taken.index("one/1/2")
    assert handoff.failures == 2


@pytest.mark.parametrize("error", [DiskReadOnly("read-only"), DiskFull("full")])
async def test_a_place_that_cannot_be_written_to_for_a_moment_is_asked_again(
    tmp_path: Path, error: StorageError
) -> None:
    sink = Sink({"one/1/2": [error, error]})
    handoff = Handoff(recorded(tmp_path, tracks=1), sink, QUICK)
    await handoff.drain()
    await handoff.aclose()
    assert sink.taken == of_track(ALL, 1)
    assert (handoff.failures, handoff.set_aside) == (2, 0)


@pytest.mark.parametrize("error", [ExportError("never"), DataLost("gone")])
async def test_what_cannot_be_retried_is_set_aside_until_the_next_start(tmp_path: Path, error: MediaError) -> None:
    path = recorded(tmp_path)
    sink = Sink({"one/1/2": [error]})
    handoff = Handoff(path, sink, QUICK)
    await handoff.drain()
    await handoff.aclose()
    assert of_track(sink.taken, 1) == ["one/1/1", "one/1/3", "one/1/4"]
    assert handoff.set_aside == 1
    again = Sink()
    second = Handoff(path, again, QUICK)
    await second.drain()
    await second.aclose()
    assert again.taken == ["one/1/2"]


async def test_drain_gives_up_on_a_sink_that_stays_down_and_the_next_start_goes_on(tmp_path: Path) -> None:
    path = recorded(tmp_path, tracks=1)
    handoff = Handoff(path, Sink({"one/1/3": [StorageError("down")] * 99}), QUICK)
    with pytest.raises(StorageError, match="down"):
        await handoff.drain()
    await handoff.aclose()
    sink = Sink()
    second = Handoff(path, sink, QUICK)
    await second.drain()
    await second.aclose()
    assert sink.taken == ["one/1/3", "one/1/4"]


async def test_a_sinks_bug_is_no_end(tmp_path: Path) -> None:
    sink = Sink({"one/1/1": [RuntimeError("bug")]})
    handoff = Handoff(recorded(tmp_path, tracks=1), sink, QUICK)
    await handoff.drain()
    await handoff.aclose()
    assert sink.taken == of_track(ALL, 1)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"taken":{"1":7}}', b'{"taken":' + b"[" * 100_000])
def test_a_damaged_cursor_begins_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / CURSOR_NAME).write_bytes(content)
    assert read_cursor(tmp_path).ranges == {}


async def test_a_lost_cursor_hands_off_again(tmp_path: Path) -> None:
    path = recorded(tmp_path, tracks=1)
    for damage in (b"", b"not json", b'{"taken": {"1": 3}}'):
        (path / CURSOR_NAME).write_bytes(damage)
        sink = Sink()
        handoff = Handoff(path, sink, QUICK)
        await handoff.drain()
        await handoff.aclose()
        assert sink.taken == of_track(ALL, 1)


async def test_segments_of_a_running_recording_come_when_they_close(tmp_path: Path) -> None:
    sink = Sink()
    loop = asyncio.get_running_loop()
    handoffs: list[Handoff] = []

    def on_segment(_: SegmentEntry) -> None:
        loop.call_soon_threadsafe(handoffs[0].notify)

    callbacks = RecordingCallbacks(on_segment=on_segment)
    recording = Recording.create(tmp_path, "one", "room", started_at=START, callbacks=callbacks)
    handoffs.append(Handoff(recording.path, sink, QUICK))
    handoffs[0].start()
    track = recording.open_track(descriptor(Codec.OPUS), START)
    for frame in opus(packets=700):
        track.write(frame)
    async with asyncio.timeout(10):
        await sink.second.wait()
    assert sink.taken == ["one/1/1", "one/1/2"]
    await recording.aclose(START + 20)
    await handoffs[0].drain()
    await handoffs[0].aclose()
    assert sink.taken == ["one/1/1", "one/1/2", "one/1/3"]


async def test_closing_in_the_middle_of_a_hand_off_leaves_it_to_the_next(tmp_path: Path) -> None:
    path = recorded(tmp_path, tracks=1)
    reached = asyncio.Event()

    class Stuck(Sink):
        async def hand_off(self, segment: SegmentEntry, recording_path: Path) -> None:
            if segment.sequence == 2:
                reached.set()
                await asyncio.Event().wait()
            await super().hand_off(segment, recording_path)

    handoff = Handoff(path, Stuck(), QUICK)
    handoff.start()
    await reached.wait()
    await handoff.aclose()
    assert (1, 1) in read_cursor(path)
    assert (1, 2) not in read_cursor(path)


def test_the_cursor_keeps_ranges() -> None:
    cursor = HandoffCursor()
    for sequence in (1, 2, 5, 3, 7, 6):
        cursor.add(1, sequence)
    assert cursor.ranges == {1: [[1, 3], [5, 7]]}
    assert (1, 4) not in cursor
    assert (2, 1) not in cursor
