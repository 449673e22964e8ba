"""A sender of encrypted frames, written from the format's description on cryptographic primitives alone."""

import re

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

SALT = b"LKFrameEncryptionKey"
IV = bytes(range(12))


def encryption_key(material: bytes) -> bytes:
    """AES-128 key of a passphrase's material."""
    return PBKDF2HMAC(hashes.SHA256(), 16, SALT, 100_000).derive(material)


def ratchet(material: bytes) -> bytes:
    """The next material."""
    return PBKDF2HMAC(hashes.SHA256(), 32, SALT, 100_000).derive(material)


def raw_encryption_key(material: bytes) -> bytes:
    """AES-128 key of a raw key."""
    return HKDF(hashes.SHA256(), 16, salt=SALT, info=bytes(128)).derive(material)


def raw_ratchet(material: bytes) -> bytes:
    """The next material of a raw key."""
    return HKDF(hashes.SHA256(), 32, salt=SALT, info=bytes(128)).derive(material)


def encrypt(key: bytes, frame: bytes, clear: int, *, index: int = 0, iv: bytes = IV, escape: bool = False) -> bytes:
    """`frame` with its first `clear` bytes as they are."""
    header, plain = frame[:clear], frame[clear:]
    body = AESGCM(key).encrypt(iv, plain, header) + iv + bytes((12, index))
    return header + (escaped(body) if escape else body)


def escaped(body: bytes) -> bytes:
    """With emulation prevention: a 3 between two zeros and anything up to 3."""
    return re.sub(rb"\x00\x00(?=[\x00-\x03])", b"\x00\x00\x03", body)
