"""A room's keys for end-to-end encryption, for both of our connections: the participant's and the recorder's.

The participant joins with encryption when there are keys by then: its media and data are encrypted, and data and
text of others are readable. Keys that come later serve the recorder only, and those that replace one serve both.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog
from livekit import rtc

from media.e2ee.key_provider import RING_SIZE, KeyProvider
from media.e2ee.keys import EncryptionKey, KeyChain, KeyDerivation
from media.errors import InvalidEncryptionKey

log = structlog.get_logger(__name__)

_SDK_DERIVATIONS = {
    KeyDerivation.PBKDF2: rtc.KeyDerivationFunction.PBKDF2,
    KeyDerivation.HKDF: rtc.KeyDerivationFunction.HKDF,
}


@dataclass(frozen=True, slots=True)
class RoomKeys:
    """What a room was joined with: a key for all, and keys of single participants, by identity, which come first.

    Raises InvalidEncryptionKey for a key that cannot be one.
    """

    shared: EncryptionKey | None = None
    participants: dict[str, EncryptionKey] = field(default_factory=dict)

    @classmethod
    def parse(cls, shared: str | None, participants: Mapping[str, str]) -> "RoomKeys":
        """From what people write; see `EncryptionKey.parse`."""
        parsed = {identity: EncryptionKey.parse(text) for identity, text in participants.items()}
        keys = cls(EncryptionKey.parse(shared) if shared else None, parsed)
        if len(keys.derivations) > 1:
            raise InvalidEncryptionKey("some encryption keys are text and some base64:; a room uses one or the other")
        return keys

    @property
    def derivations(self) -> set[KeyDerivation]:
        """How keys are derived: one way, or none where there is no key."""
        return {key.derivation for key in (self.shared, *self.participants.values()) if key is not None}


class RoomEncryption:
    """The keys of one room, for as long as we are in it."""

    def __init__(self, keys: RoomKeys) -> None:
        self._first = keys
        self._participants = dict(keys.participants)
        self._shared = keys.shared
        self._places: dict[str | None, int] = {}
        self._room: rtc.Room | None = None
        self.keys = KeyProvider()
        """For the recorder's connection."""

    async def prepare(self) -> None:
        """Derive the keys. Takes some 40 ms of CPU each."""
        for identity, key in ((None, self._first.shared), *self._first.participants.items()):
            if key is not None:
                self.keys.set_key(await asyncio.to_thread(KeyChain, key), identity=identity)

    @property
    def participant_decrypts(self) -> bool:
        """Whether the participant's own connection has encryption: it joins with keys, or does without."""
        return bool(self._first.derivations)

    def sdk_options(self) -> rtc.E2EEOptions | None:
        """How the participant's own connection encrypts; None without keys."""
        if not self._first.derivations:
            return None
        (derivation,) = self._first.derivations
        options = rtc.KeyProviderOptions(key_derivation_function=_SDK_DERIVATIONS[derivation])
        if self._first.shared is not None and not self._first.participants:
            options.shared_key = self._first.shared.material
        return rtc.E2EEOptions(key_provider_options=options)

    def joined(self, room: rtc.Room) -> None:
        """The participant is in `room`, with `sdk_options`."""
        if self._first.derivations:
            self._room = room
            for identity in (room.local_participant.identity, *room.remote_participants):
                self.met(identity)

    def met(self, identity: str) -> None:
        """A participant is in the room: with keys of their own, the SDK needs one for each."""
        key = self._participants.get(identity, self._shared)
        if self._room is not None and self._first.participants and key is not None:
            self._provider(self._room).set_key(identity, key.material, self._place(identity))

    def published(self) -> None:
        """A track of ours is in the room: the SDK begins each with the key at the ring's first place."""
        if self._room is None:
            return
        own = self._room.local_participant.identity
        if place := self._place(own):
            self._encrypt_with(self._room, place)

    def _place(self, identity: str) -> int:
        """Where in the ring the key is that `identity` encrypts with."""
        return self._places.get(identity if identity in self._participants else None, 0)

    @staticmethod
    def _encrypt_with(room: rtc.Room, place: int) -> None:
        for cryptor in room.e2ee_manager.frame_cryptors():
            if cryptor.participant_identity == room.local_participant.identity:
                cryptor.set_key_index(place)

    async def set_key(self, text: str, *, identity: str | None = None, index: int = 0) -> None:
        """Use another key from now on, at one of the 16 places of the ring; what we publish is encrypted with it.

        Raises InvalidEncryptionKey.
        """
        if not 0 <= index < RING_SIZE:
            raise InvalidEncryptionKey(f"key index {index} is out of the ring; give one from 0 to {RING_SIZE - 1}")
        key = EncryptionKey.parse(text)
        if self._first.derivations and {key.derivation} != self._first.derivations:
            raise InvalidEncryptionKey("an encryption key is text or base64: as the room's first one was")
        self.keys.set_key(await asyncio.to_thread(KeyChain, key), identity=identity, index=index)
        if identity is not None:
            self._participants[identity] = key
        else:
            self._shared = key
        self._places[identity] = index
        if self._room is not None:
            self._set_sdk_key(self._room, key, identity, index)
        log.info("encryption_key_set", participant_identity=identity or "", key_index=index)

    def _set_sdk_key(self, room: rtc.Room, key: EncryptionKey, identity: str | None, index: int) -> None:
        own = room.local_participant.identity
        if not self._first.participants:
            if identity is not None:
                return  # the SDK has one key for all then
            self._provider(room).set_shared_key(key.material, index)
        else:
            everybody = (own, *room.remote_participants)
            for name in (identity,) if identity is not None else everybody:
                if identity is not None or name not in self._participants:
                    self._provider(room).set_key(name, key.material, index)
        if identity == own or (identity is None and own not in self._participants):
            self._encrypt_with(room, index)

    @staticmethod
    def _provider(room: rtc.Room) -> rtc.KeyProvider:
        provider = room.e2ee_manager.key_provider
        assert provider is not None, "joined with options"
        return provider
