"""From what people call a key to the keys that frames are encrypted with, and on along the ratchet (pure)."""

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from enum import StrEnum

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from media.errors import InvalidEncryptionKey

SALT = b"LKFrameEncryptionKey"
RATCHET_WINDOW = 16
"""How many keys further a receiver looks; the native SDKs' default (livekit-client's is 8)."""

KEYS_AHEAD = 2
"""Keys of the ratchet kept ready, so that a sender's step costs no frame. Each costs some 40 ms of CPU."""

_MATERIAL_BYTES = 32
_KEY_BYTES = 16
_PBKDF2_ROUNDS = 100_000
_HKDF_INFO = bytes(128)
_RAW_PREFIX = "base64:"


class KeyDerivation(StrEnum):
    """How keys are derived from key material."""

    PBKDF2 = "pbkdf2"
    HKDF = "hkdf"


@dataclass(frozen=True, slots=True)
class EncryptionKey:
    """Key material as it was agreed on, and how it is used. Never shown."""

    material: bytes = field(repr=False)
    derivation: KeyDerivation = KeyDerivation.PBKDF2

    @classmethod
    def parse(cls, text: str) -> "EncryptionKey":
        """A passphrase, or "base64:" and a raw key, as livekit-client takes text and buffers.

        Raises InvalidEncryptionKey, which does not quote it.
        """
        if not text.startswith(_RAW_PREFIX):
            if not text:
                raise InvalidEncryptionKey("an encryption key is empty; give the passphrase that the room uses")
            return cls(text.encode())
        try:
            material = base64.b64decode(text.removeprefix(_RAW_PREFIX), validate=True)
        except binascii.Error:
            material = b""
        if not material:
            raise InvalidEncryptionKey("what follows base64: in an encryption key is no base64; write the raw key so")
        return cls(material, KeyDerivation.HKDF)


def derive(material: bytes, derivation: KeyDerivation) -> bytes:
    """32 bytes: the first 16 are the encryption key of `material`, all of them the next material of its ratchet."""
    if derivation is KeyDerivation.PBKDF2:
        return hashlib.pbkdf2_hmac("sha256", material, SALT, _PBKDF2_ROUNDS, _MATERIAL_BYTES)
    return HKDF(hashes.SHA256(), _MATERIAL_BYTES, salt=SALT, info=_HKDF_INFO).derive(material)


class KeyChain:
    """A key and those that its ratchet leads to, as far as they were derived.

    `extend` takes some 40 ms and may run in another thread than the rest, one at a time.
    """

    def __init__(self, key: EncryptionKey) -> None:
        """Derives the first key."""
        self._derivation = key.derivation
        self._material = key.material
        self._ciphers: list[AESGCM] = []
        self._searching = False
        self.reached = 0
        self.extend()

    @property
    def ciphers(self) -> list[AESGCM]:
        """The ciphers derived so far, the first key's first."""
        return self._ciphers

    @property
    def due(self) -> bool:
        """Whether another key should be derived: so many are kept ahead, a window of them while one is searched."""
        ahead = RATCHET_WINDOW if self._searching else KEYS_AHEAD
        return len(self._ciphers) <= self.reached + ahead

    @property
    def exhausted(self) -> bool:
        """Whether all keys of the window are derived."""
        return len(self._ciphers) > self.reached + RATCHET_WINDOW

    def extend(self) -> None:
        """Derive the next key."""
        self._material = derive(self._material, self._derivation)
        self._ciphers.append(AESGCM(self._material[:_KEY_BYTES]))

    def used(self, position: int) -> None:
        """A frame was encrypted with the key at `position`."""
        self.reached = max(self.reached, position)
        self._searching = False

    def search(self) -> None:
        """No key so far fits."""
        self._searching = True
