"""Decrypts the frames of one track (pure)."""

from enum import StrEnum
from typing import NamedTuple

from cryptography.exceptions import InvalidTag

from media.e2ee.frame_format import EncryptedFrame, split_frame
from media.e2ee.key_provider import KeyProvider
from media.e2ee.keys import KeyChain
from media.frames import Codec

FAILURE_TOLERANCE = 10
"""Frames in a row that may fail before it is told: a sender that turns to a new key leaves some under way."""

UNSUPPORTED_CODECS = frozenset({Codec.AV1})
"""The sender's packetiser cuts ciphertext into OBUs that it does not have; nobody can join it again."""

_SILENCE = b"\xf8\xff\xfe" + bytes(77)
"""The Opus packet that livekit-server sends for a microphone that is muted or gone."""


class DecryptionOutcome(StrEnum):
    """What became of one frame, and of a track as far as it is known.

    NOT_ENCRYPTED: the server's silence. SERVER_INJECTED: a picture that the server made up, not to be used.
    MISSING_KEY: no key for its participant and key index. WRONG_KEY: no key we have made it, or it is no
    frame of this format at all. UNSUPPORTED: the codec cannot be decrypted.
    """

    DECRYPTED = "decrypted"
    NOT_ENCRYPTED = "not_encrypted"
    SERVER_INJECTED = "server_injected"
    MISSING_KEY = "missing_key"
    WRONG_KEY = "wrong_key"
    UNSUPPORTED = "unsupported"


FAILURES = frozenset({DecryptionOutcome.MISSING_KEY, DecryptionOutcome.WRONG_KEY, DecryptionOutcome.UNSUPPORTED})


class Decryption(NamedTuple):
    """`data` is the clear frame; empty where `outcome` leaves none."""

    outcome: DecryptionOutcome
    data: bytes = b""


class FrameDecryptor:
    """Decrypts one track's frames, in their order, with the keys of the participant who publishes it."""

    def __init__(self, keys: KeyProvider, identity: str, sif_trailer: bytes = b"") -> None:
        self.sif_trailer = sif_trailer
        """What the server's own frames end with, from its answer to joining."""
        self._keys = keys
        self._identity = identity
        self._chain: KeyChain | None = None
        self._position = 0
        self._failures = 0
        self.failure: DecryptionOutcome | None = None
        """Why the track's frames cannot be decrypted; None while they can, or none came yet."""

    def decrypt(self, codec: Codec, frame: bytes) -> Decryption:
        """The clear frame (H.264 and H.265: Annex B in and out), or why there is none."""
        if not frame:
            return Decryption(DecryptionOutcome.NOT_ENCRYPTED, frame)
        if self.sif_trailer and frame.endswith(self.sif_trailer):
            return _injected(codec, frame.removesuffix(self.sif_trailer))
        result = self._open(codec, frame)
        if result.outcome is DecryptionOutcome.DECRYPTED:
            self._failures = 0
            self.failure = None
        else:
            self._failures += 1
            if self._failures >= FAILURE_TOLERANCE:
                self.failure = result.outcome
        return result

    def _open(self, codec: Codec, frame: bytes) -> Decryption:
        if codec in UNSUPPORTED_CODECS:
            return Decryption(DecryptionOutcome.UNSUPPORTED)
        parts = split_frame(codec, frame)
        if parts is None:
            return Decryption(DecryptionOutcome.WRONG_KEY)
        chains = self._keys.chains(self._identity, parts.key_index)
        if not chains:
            return Decryption(DecryptionOutcome.MISSING_KEY)
        for chain in chains:
            clear = self._try(chain, parts)
            if clear is not None:
                return Decryption(DecryptionOutcome.DECRYPTED, parts.header + clear)
        chains[0].search()
        return Decryption(DecryptionOutcome.WRONG_KEY)

    def _try(self, chain: KeyChain, parts: EncryptedFrame) -> bytes | None:
        """Frames of a track come in order: never back to a key that the ratchet left behind."""
        first = self._position if chain is self._chain else 0
        ciphers = chain.ciphers
        for position in range(first, len(ciphers)):
            try:
                clear = ciphers[position].decrypt(parts.iv, parts.ciphertext, parts.header)
            except InvalidTag:
                continue
            self._chain, self._position = chain, position
            chain.used(position)
            return clear
        return None


def _injected(codec: Codec, frame: bytes) -> Decryption:
    """Nobody vouches for these: of sound only silence is let through, of pictures nothing."""
    if codec is Codec.OPUS and frame == _SILENCE:
        return Decryption(DecryptionOutcome.NOT_ENCRYPTED, frame)
    return Decryption(DecryptionOutcome.SERVER_INJECTED)
