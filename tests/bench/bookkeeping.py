"""What long recordings cost beside their media: going on with one, manifests, an export's check of what it knows.

`python -m tests.bench.bookkeeping` does each at a size and at four times that; where the time for an item stays the
same, nothing grows with the square of a recording.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from media.export import workflow
from media.export.job import ExportFormat, ExportRequest, TakenUp
from media.export.store import ExportStore
from media.export.workflow import StepSettings
from media.frames import Codec
from media.record.entries import ClockMapping, RecordingStarted, RecordingState, TrackOpened
from media.record.journal import Journal, read_sound_journal
from media.record.ledger import Ledger
from media.record.manifest import ManifestBuilder
from media.record.recorder import Recording
from media.rtp.clock_mapping import ClockSource
from tests.media.export.recordings import Track, encode_audio, interrupt, write_recording
from tests.media.record.encoded_media import descriptor

AT = 1_000.0
TIMES = 4


@dataclass(frozen=True, slots=True)
class Case:
    """`run` makes `items` and returns the CPU seconds of what is measured."""

    name: str
    items: int
    run: Callable[[Path, int], float]


def mapping(track: int, n: int) -> ClockMapping:
    """The `n`th estimate of a sender's clock."""
    return ClockMapping(track, n * 48_000, n * 1.1, 3.5, 0.25, ClockSource.SENDER_REPORT)


def cpu_s(work: Callable[[], object]) -> float:
    """CPU seconds of this process while `work` runs."""
    before = time.process_time()
    work()
    return time.process_time() - before


def resume(folder: Path, lines: int) -> float:
    """Going on with a recording that was killed, whose journal has so many lines."""
    path = write_recording(folder / "recording", [Track("microphone", encode_audio(0.0, 2.0))])
    interrupt(path)
    journal = Journal(path)
    for n in range(lines - len(read_sound_journal(path).records)):
        journal.append(mapping(1, n), AT)
        if n % 1_000 == 0:
            journal.flush()
    journal.close()
    resumed: list[Recording] = []
    took = cpu_s(lambda: resumed.append(Recording.resume(path, AT + lines)))
    resumed[0].close(AT + lines)
    return took


def write_manifest(folder: Path, mappings: int) -> float:
    """One manifest of 20 tracks that have so many estimates of their clocks together."""
    ledger = Ledger(folder, Journal(folder), ManifestBuilder())
    ledger.record(RecordingStarted("one", "room", "", AT), AT)
    for track in range(1, 21):
        ledger.record(TrackOpened(track, f"tracks/{track}-audio", 48_000, descriptor(Codec.OPUS)), AT)
        for n in range(mappings // 20):
            ledger.record(mapping(track, n), AT)
    took = cpu_s(lambda: ledger.write_manifest(RecordingState.RECORDING, AT))
    ledger.close()
    return took


def check_known(folder: Path, segments: int) -> float:
    """The check of so many segments that an export begins with, where all were verified before."""
    segment_s = 0.02
    sound = [Track("microphone", encode_audio(0.0, segments * segment_s))]
    path = write_recording(folder / "recording", sound, segment_s=segment_s)
    store = ExportStore(folder / "exports.db")
    settings = StepSettings(recording_poll_s=0.01, interrupted_grace_s=60.0)
    took = 0.0
    for export_id in ("EX_1", "EX_2"):
        store.add(export_id, ExportRequest(path, ExportFormat.MP4, folder / "out"), AT)
        store.apply(export_id, TakenUp())
        steps = workflow._Run(store, settings, threading.Semaphore(), store.get(export_id))
        took = cpu_s(steps.check_segments)
    return took


CASES = (
    Case("going on with a recording: lines of its journal", 10_000, resume),
    Case("a manifest of 20 tracks: estimates of their clocks", 25_000, write_manifest),
    Case("an export that knows all segments: segments", 500, check_known),
)


def main() -> None:
    print("| what | items | CPU, s | µs an item | beside a quarter of it |\n|---|---|---|---|---|")
    for case in CASES:
        each = []
        for items in (case.items, case.items * TIMES):
            with TemporaryDirectory() as folder:
                took = case.run(Path(folder), items)
            each.append(took / items)
            growth = f"{each[-1] / each[0]:.2f}" if len(each) > 1 else ""
            print(f"| {case.name} | {items} | {took:.2f} | {each[-1] * 1e6:.1f} | {growth} |")


if __name__ == "__main__":
    main()
