"""Whether a recording's tracks with end-to-end encryption can be decrypted, and telling of those that cannot."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from agent.room.state import TrackState, UndecryptableTrack
from agent.room.tap_values import RECORDABLE
from agent.room.undecryptable import ADVICE, UndecryptableTracks, decryption_event
from media.clock import SteadyClock
from media.e2ee.frame_decryptor import UNSUPPORTED_CODECS, DecryptionOutcome
from media.e2ee.key_provider import KeyProvider
from media.record.entries import TimelineEvent
from media.tap.tap import Tap

log = structlog.get_logger(__name__)

KEYS_INTERVAL_S = 0.25


@dataclass(frozen=True, slots=True)
class TrackUndecryptable:
    """A track with end-to-end encryption is not recorded: there is no key, or not the right one."""

    track: UndecryptableTrack


@dataclass(frozen=True, slots=True)
class TrackDecryptable:
    """A track that could not be decrypted can be now; it is recorded from its next sync sample on."""

    track: UndecryptableTrack


class DecryptionWatch:
    """Watches one tap. `append_event` takes lines for the recording's timeline, `tell` takes events."""

    def __init__(
        self,
        tap: Tap,
        keys: KeyProvider,
        clock: SteadyClock,
        append_event: Callable[[TimelineEvent], None],
        tell: Callable[[TrackUndecryptable | TrackDecryptable], None],
    ) -> None:
        self._tap = tap
        self._keys = keys
        self._clock = clock
        self._append_event = append_event
        self._tell = tell
        self._withheld: dict[str, DecryptionOutcome] = {}
        self._undecryptable = UndecryptableTracks()

    @property
    def undecryptable(self) -> tuple[UndecryptableTrack, ...]:
        """The tracks that are left out now."""
        return self._undecryptable.tracks

    def may_decrypt(self, track: TrackState) -> bool:
        """Whether a track's codec and the keys at hand let it be tried; without, its media need not be sent."""
        reason = self._hindrance(track)
        if reason is None:
            self._withheld.pop(track.sid, None)
        else:
            self._withheld[track.sid] = reason
        return reason is None

    def _hindrance(self, track: TrackState) -> DecryptionOutcome | None:
        if not track.encrypted:
            return None
        if RECORDABLE.get(track.mime_type.lower()) in UNSUPPORTED_CODECS:
            return DecryptionOutcome.UNSUPPORTED
        return None if self._keys.has_keys(track.participant_identity) else DecryptionOutcome.MISSING_KEY

    async def derive_keys(self) -> None:
        """Keep keys ready ahead of their ratchet, until cancelled. It takes CPU, so a thread does it."""
        while True:
            while (chain := self._keys.due()) is not None:
                await asyncio.to_thread(chain.extend)
            await asyncio.sleep(KEYS_INTERVAL_S)

    def check(self) -> None:
        """Tell what changed since the last time."""
        now = self._clock.now()
        found = {track.sid: (item, track) for item in self._tap.participants.values() for track in item.tracks}
        self._withheld = {sid: reason for sid, reason in self._withheld.items() if sid in found}
        failures = self._withheld | self._tap.undecryptable()
        news, mended = self._undecryptable.update(failures, found)
        for track in news:
            advice, identity = ADVICE[track.reason], track.participant_identity
            log.warning("recording_track_undecryptable", sid=track.sid, participant_identity=identity, advice=advice)
            self._append_event(decryption_event(track, now, mended=False))
            self._tell(TrackUndecryptable(track))
        for track in mended:
            log.info("recording_track_decryptable", sid=track.sid, participant_identity=track.participant_identity)
            self._append_event(decryption_event(track, now, mended=True))
            self._tell(TrackDecryptable(track))
