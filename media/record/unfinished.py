"""Files that a dead writer left open: finished, and noted in the journal, by whoever needs them first."""

from pathlib import Path

from media.errors import RecordingDamaged
from media.record.entries import ClockMapping, JournalEntry, RecordingState, RtpAnchor, SegmentEntry, TrackOpened
from media.record.journal import Journal, read_sound_journal
from media.record.journal_line import JournalRecord
from media.record.ledger import Ledger
from media.record.manifest import ManifestBuilder
from media.record.muxed_recovery import muxed_files, recover_muxed
from media.record.reader import RecordingView, read_recording, view_from_records
from media.record.recovery import TrackRecovery, find_inits, segment_files, track_directories


def finish_unfinished(path: Path) -> int:
    """Finish and journal what a dead writer left open in the recording in the folder `path`; how many segments.

    It stays interrupted, and files found count as closed at the time of the last line. Nothing is written, and no
    lock taken, where nothing was left open. Raises RecordingNotFound, RecordingBusy while it is being written,
    RecordingDamaged (repair it first), StorageError.
    """
    if not _has_unfinished(read_recording(path)):
        return 0
    journal = Journal(path, must_exist=True)
    try:
        contents = read_sound_journal(path)
        if contents.torn_bytes:
            journal.cut(contents.valid_bytes)
        now = contents.records[-1].at
        builder = ManifestBuilder(contents.records)
        ledger = Ledger(path, journal, builder)
        before = view_from_records(path, contents.records, RecordingState.INTERRUPTED)
        entries = recover_segments(before, contents.records, now)
        entries += recover_muxed(path, {entry.path for entry in before.muxed}, now)
        for entry in entries:
            ledger.record(entry, now)
        ledger.commit(now, _nobody)
        ledger.write_manifest(RecordingState.COMPLETE if builder.closed else RecordingState.INTERRUPTED, now)
    finally:
        journal.close()
    return sum(isinstance(entry, SegmentEntry) for entry in entries)


def is_left_open(path: Path) -> bool:
    """Whether files of the recording in the folder `path` are open, by a writer that lives or one that died.

    Their names say so; the journal is not read. Raises StorageError.
    """
    if any(not file.finished for file in muxed_files(path)):
        return True
    folders = track_directories(path).values()
    return any(not file.finished for folder in folders for file in segment_files(path / folder))


def recover_segments(view: RecordingView, records: tuple[JournalRecord, ...], now: float) -> list[JournalEntry]:
    """Finish what a dead writer left open in each track's folder, and the entries for it.

    `view` is what the journal's `records` add up to. They are durable line by line, so what only the notes of later
    segments say of the clock is newer than all that they say. Raises RecordingDamaged, StorageError.
    """
    entries: list[JournalEntry] = []
    clocks = {record.entry for record in records if isinstance(record.entry, RtpAnchor | ClockMapping)}
    for track in view.tracks:
        directory = str(track.directory.relative_to(view.path))
        opened = TrackOpened(track.number, directory, track.timescale, track.descriptor)
        known_inits = {init.path for init in track.inits}
        inits = [entry for entry, _ in find_inits(view.path, directory) if entry.path not in known_inits]
        entries += inits
        known = {segment.sequence for segment in track.segments}
        recovery = TrackRecovery(view.path, view.recording_id, opened, [*track.inits, *inits], now)
        for recovered in recovery.recover(known):
            for clock in (recovered.rtp_anchor, recovered.clock_mapping):
                if clock is not None and clock not in clocks and recovered.entry.sequence > max(known, default=0):
                    entries.append(clock)
                    clocks.add(clock)
            entries.append(recovered.entry)
    return entries


def _has_unfinished(view: RecordingView) -> bool:
    """Raises RecordingDamaged where media are of a track that the journal does not know."""
    known = {track.number: {segment.sequence for segment in track.segments} for track in view.tracks}
    found = False
    for number, directory in track_directories(view.path).items():
        sequences = {file.sequence for file in segment_files(view.path / directory)}
        if sequences and number not in known:
            raise RecordingDamaged(f"the journal lacks the track in {view.path / directory}; repair the recording")
        found = found or not sequences <= known.get(number, set())
    muxed = {str(file.path.relative_to(view.path)) for file in muxed_files(view.path)}
    return found or not muxed <= {entry.path for entry in view.muxed}


def _nobody(_: SegmentEntry) -> None:
    """Nobody listens: who reads the journal finds them."""
