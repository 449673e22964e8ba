"""Which tracks of a recording cannot be decrypted, and what of that is news (pure)."""

from collections.abc import Mapping

from agent.room.state import UndecryptableTrack
from media.e2ee.frame_decryptor import DecryptionOutcome
from media.record.entries import TimelineEvent
from media.tap.events import RemoteParticipant, RemoteTrack

ADVICE: dict[str, str] = {
    DecryptionOutcome.MISSING_KEY: "not recorded: it is encrypted and there is no key for it; give one (--e2ee-key)",
    DecryptionOutcome.WRONG_KEY: "not recorded: it is encrypted with another key; give the one that the room uses",
    DecryptionOutcome.UNSUPPORTED: "not recorded: it is encrypted in a codec that cannot be decrypted; publish another",
}


class UndecryptableTracks:
    """Remembers what was told, so that each track is told of once a reason."""

    def __init__(self) -> None:
        self._told: dict[str, UndecryptableTrack] = {}

    @property
    def tracks(self) -> tuple[UndecryptableTrack, ...]:
        """The tracks that cannot be decrypted now."""
        return tuple(self._told.values())

    def update(
        self,
        failures: Mapping[str, DecryptionOutcome],
        present: Mapping[str, tuple[RemoteParticipant, RemoteTrack]],
    ) -> tuple[list[UndecryptableTrack], list[UndecryptableTrack]]:
        """Of what fails now, by SID, and the tracks there are: those that fail anew, and those that no longer do."""
        now = {
            sid: UndecryptableTrack(
                sid=sid,
                name=present[sid][1].name,
                kind=present[sid][1].kind.value,
                participant_identity=present[sid][0].identity,
                reason=reason.value,
            )
            for sid, reason in failures.items()
            if sid in present
        }
        news = [track for sid, track in now.items() if self._told.get(sid) != track]
        mended = [track for sid, track in self._told.items() if sid not in now and sid in present]
        self._told = now
        return news, mended


def decryption_event(track: UndecryptableTrack, at: float, *, mended: bool) -> TimelineEvent:
    """The line for a recording's timeline."""
    payload = {"sid": track.sid, "name": track.name, "kind": track.kind}
    if mended:
        return TimelineEvent("track_decryptable", at, track.participant_identity, payload)
    return TimelineEvent("track_undecryptable", at, track.participant_identity, payload | {"reason": track.reason})
