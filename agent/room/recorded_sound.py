"""Listens to a little of the sound that is recorded without decoding it, so that its level is known."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import structlog

from media.errors import RtpError
from media.frames import Codec, EncodedFrame
from media.process.sound_decoder import SoundDecoder
from media.rtp.sound_sample import SoundRun, SoundSampler
from quality.content import ContentCounts
from quality.content_tally import ContentTally

log = structlog.get_logger(__name__)

PAUSE_STRETCHES = 4  # a pause counts as much as the 80 ms of sound, in packets of 20, that are heard in its place
_NO_SOUND = np.zeros(0, np.int16)


@dataclass(slots=True)
class _Track:
    sampler: SoundSampler = field(default_factory=SoundSampler)
    decoder: SoundDecoder = field(default_factory=SoundDecoder)
    tally: ContentTally = field(default_factory=ContentTally)
    failed: bool = False


class RecordedSound:
    """Give it the frames of recorded tracks after they are written; what it meets with is no matter of the recording.

    `failures` counts runs that could not be decoded.
    """

    def __init__(self) -> None:
        self._tracks: dict[str, _Track] = {}
        self.failures = 0

    def take(self, track_sid: str, frames: Sequence[EncodedFrame]) -> None:
        """Hear some of what came of a track; nothing of what is not Opus."""
        for frame in frames:
            if frame.codec is not Codec.OPUS:
                return
            track = self._tracks.get(track_sid)
            if track is None:
                track = self._tracks[track_sid] = _Track()
            run = track.sampler.take(frame)
            if run is not None:
                self._hear(track_sid, track, run)

    def _hear(self, track_sid: str, track: _Track, run: SoundRun) -> None:
        if run.is_pause:
            for _ in range(PAUSE_STRETCHES):
                track.tally.add_sound(_NO_SOUND)
            return
        try:
            for samples in track.decoder.decode(run):
                track.tally.add_sound(samples)
        except RtpError as error:
            if self._is_first_failure(track):
                log.warning("recorded_sound_undecodable", sid=track_sid, code=error.code, error=str(error))
        except Exception:
            # The recording must not end with who listens to it.
            if self._is_first_failure(track):
                log.exception("recorded_sound_failed", sid=track_sid)

    def _is_first_failure(self, track: _Track) -> bool:
        self.failures += 1
        first, track.failed = not track.failed, True
        return first

    def counts(self, track_sid: str) -> ContentCounts | None:
        """What was heard of a track so far; None where nothing is listened to."""
        track = self._tracks.get(track_sid)
        return track.tally.counts if track else None

    def forget(self, track_sid: str) -> None:
        """The track is gone."""
        self._tracks.pop(track_sid, None)
