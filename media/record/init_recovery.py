"""Init segments that are lost or damaged, made again from the first sync sample of a segment that needs them."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from media.errors import MediaError
from media.frames import EncodedFrame
from media.record.codec_config import codec_config
from media.record.entries import Container, InitEntry, RecordingStarted, TrackOpened
from media.record.muxer import muxer_for
from media.record.note import InitNote, decode_segment_note, encode_note
from media.record.recovery import SegmentFile
from media.record.sample import CodecConfig
from media.record.storage import translated, write_durably

_INIT_PATH = re.compile(r"/init-(\d+)\.(?:mp4|webm)$")


@dataclass(frozen=True, slots=True)
class InitRecovery:
    """Makes init segments of one track again. `known`: those that the journal has."""

    recording_path: Path
    started: RecordingStarted
    opened: TrackOpened
    known: Iterable[InitEntry]

    def recover(self, files: Iterable[SegmentFile]) -> list[InitEntry]:
        """Write what `files` need and is not there as the journal has it; the entries of what was written.

        Raises StorageError.
        """
        known = {entry.path: entry for entry in self.known}
        made: dict[str, InitEntry] = {}
        for file in files:
            with translated(f"read {file.path}"):
                data = file.path.read_bytes()
            note = decode_segment_note(muxer_for(self.opened.descriptor.codec, file.container).scan(data).note)
            if note is None or note.init_path in made or self._is_sound(note.init_path, known.get(note.init_path)):
                continue
            entry = self._make(note.init_path, file.container, data, known.get(note.init_path))
            if entry is not None:
                made[note.init_path] = entry
        return list(made.values())

    def _is_sound(self, init_path: str, entry: InitEntry | None) -> bool:
        path = self.recording_path / init_path
        with translated(f"read {path}"):
            data = path.read_bytes() if path.exists() else None
        return data is not None and entry is not None and hashlib.sha256(data).hexdigest() == entry.sha256

    def _make(self, init_path: str, container: Container, segment: bytes, known: InitEntry | None) -> InitEntry | None:
        match = _INIT_PATH.search(init_path)
        config = self._config(container, segment, known)
        if match is None or config is None:
            return None
        index = int(match[1])
        note = InitNote(
            self.started,
            self.opened,
            index,
            container,
            config.codec,
            config.codec_string,
            config.width,
            config.height,
        )
        data = muxer_for(config.codec, container).init_segment(config, encode_note(note))
        write_durably(self.recording_path / init_path, data)
        return InitEntry(
            self.opened.track,
            index,
            init_path,
            container,
            config.codec,
            config.codec_string,
            config.width,
            config.height,
            hashlib.sha256(data).hexdigest(),
            len(data),
        )

    def _config(self, container: Container, segment: bytes, known: InitEntry | None) -> CodecConfig | None:
        """What the first sample says; None when it is no sync sample or says too little."""
        codec = self.opened.descriptor.codec if known is None else known.codec
        muxer = muxer_for(codec, container)
        scan, sample = muxer.scan(segment), muxer.first_sample(segment)
        if sample is None or not scan.samples[0].sync_sample:
            return None
        try:
            return codec_config(EncodedFrame(codec, sample, 0, 0.0, sync_sample=True), None)
        except (MediaError, ValueError):
            return None
