"""Frames as a sender encrypts them come out as they went in, or not at all."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.e2ee.frame_decryptor import FAILURE_TOLERANCE, DecryptionOutcome, FrameDecryptor
from media.e2ee.frame_format import join_annex_b, split_annex_b, split_frame
from media.e2ee.key_provider import RING_SIZE, KeyProvider
from media.e2ee.keys import RATCHET_WINDOW, SALT, EncryptionKey, KeyChain, KeyDerivation, derive
from media.errors import InvalidEncryptionKey
from media.frames import Codec
from tests.media.e2ee import sender

PASSPHRASE = "open sesame"
MATERIAL = PASSPHRASE.encode()
KEY = sender.encryption_key(MATERIAL)
TRAILER = b"sif-trailer-of-this-room"

VP8_KEY_FRAME = bytes.fromhex("501000 9d012a 4001 f000") + bytes(range(200))
VP8_DELTA_FRAME = bytes.fromhex("511000") + bytes(range(200))
OPUS_PACKET = b"\x78" + bytes(range(90))
VP9_FRAME = bytes(range(120))
SPS, PPS = bytes.fromhex("6742c01e8c680a02ff96"), bytes.fromhex("68ce3c80")
IDR = b"\x65\xb8" + bytes(400)
SECOND_SLICE = b"\x65\x00" + b"\x01\x80" * 40
H264_FRAME = join_annex_b([SPS, PPS, IDR + b"\x80", SECOND_SLICE])
H265_FRAME = join_annex_b([b"\x40\x01vps", b"\x42\x01sps", b"\x44\x01pps", b"\x26\x01\xaf" + bytes(300) + b"\x80"])

FRAMES = {
    "opus": (Codec.OPUS, OPUS_PACKET, 1),
    "vp8 key": (Codec.VP8, VP8_KEY_FRAME, 10),
    "vp8 delta": (Codec.VP8, VP8_DELTA_FRAME, 3),
    "vp9": (Codec.VP9, VP9_FRAME, 0),
    "h264": (Codec.H264, H264_FRAME, 4 + len(SPS) + 4 + len(PPS) + 4 + 2),
    "h265": (Codec.H265, H265_FRAME, 4 + 5 + 4 + 5 + 4 + 5 + 4 + 2),
}


def provider(text: str = PASSPHRASE, **where: object) -> KeyProvider:
    keys = KeyProvider()
    keys.set_key(KeyChain(EncryptionKey.parse(text)), **where)  # type: ignore[arg-type]
    return keys


def opus(key: bytes, *, index: int = 0, number: int = 0) -> bytes:
    return sender.encrypt(key, OPUS_PACKET + bytes((number,)), 1, index=index)


@pytest.fixture(scope="module")
def keys() -> KeyProvider:
    return provider()


@pytest.mark.parametrize("name", FRAMES)
def test_each_codec_comes_out_as_it_went_in(keys: KeyProvider, name: str) -> None:
    codec, frame, clear = FRAMES[name]
    encrypted = sender.encrypt(KEY, frame, clear, escape=codec in {Codec.H264, Codec.H265})
    assert FrameDecryptor(keys, "alice").decrypt(codec, encrypted) == (DecryptionOutcome.DECRYPTED, frame)


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_changed_in_any_part_never_comes_out(keys: KeyProvider, name: str) -> None:
    codec, frame, clear = FRAMES[name]
    encrypted = sender.encrypt(KEY, frame, clear, escape=codec in {Codec.H264, Codec.H265})
    for at in (max(0, clear - 1), clear + 5, len(encrypted) - 20, len(encrypted) - 5):
        changed = encrypted[:at] + bytes((encrypted[at] ^ 0x10,)) + encrypted[at + 1 :]
        assert FrameDecryptor(keys, "alice").decrypt(codec, changed).data == b""
    for length in range(0, len(encrypted), 7):
        assert FrameDecryptor(keys, "alice").decrypt(codec, encrypted[:length]).data == b""


def test_slices_behind_the_first_come_back_out_of_its_ciphertext(keys: KeyProvider) -> None:
    encrypted = sender.encrypt(KEY, H264_FRAME, FRAMES["h264"][2], escape=True)
    assert len(split_annex_b(encrypted)) == 3, "no start code shows in the ciphertext"
    clear = FrameDecryptor(keys, "alice").decrypt(Codec.H264, encrypted).data
    assert split_annex_b(clear) == [SPS, PPS, IDR + b"\x80", SECOND_SLICE]


@given(st.binary(min_size=30, max_size=300).map(lambda data: data.replace(b"\x01", b"\x00").replace(b"\x02", b"\x03")))
def test_emulation_prevention_is_undone_whatever_the_bytes(body: bytes) -> None:
    trailer = bytes((12, 0))
    parts = split_frame(Codec.H264, join_annex_b([b"\x61\xe0" + sender.escaped(body + trailer)]))
    assert parts is not None
    assert parts.ciphertext + parts.iv == body


def test_a_h264_frame_without_a_slice_was_not_encrypted() -> None:
    assert split_frame(Codec.H264, join_annex_b([SPS, PPS]) + bytes(60)) is None
    assert split_frame(Codec.H264, b"\x00\x00\x01") is None


def test_outcomes_of_frames_that_no_key_opens(keys: KeyProvider) -> None:
    other = sender.encryption_key(b"another")
    decryptor = FrameDecryptor(keys, "alice")
    assert decryptor.decrypt(Codec.OPUS, opus(other)) == (DecryptionOutcome.WRONG_KEY, b"")
    assert decryptor.decrypt(Codec.OPUS, OPUS_PACKET) == (DecryptionOutcome.WRONG_KEY, b""), "in the clear"
    assert decryptor.decrypt(Codec.OPUS, opus(KEY, index=3)) == (DecryptionOutcome.MISSING_KEY, b"")
    assert decryptor.decrypt(Codec.OPUS, opus(KEY, index=200)) == (DecryptionOutcome.MISSING_KEY, b"")
    assert FrameDecryptor(KeyProvider(), "alice").decrypt(Codec.OPUS, opus(KEY)).outcome == "missing_key"
    assert decryptor.decrypt(Codec.AV1, bytes(100)) == (DecryptionOutcome.UNSUPPORTED, b"")
    assert decryptor.decrypt(Codec.OPUS, b"") == (DecryptionOutcome.NOT_ENCRYPTED, b""), "DTX"


def test_a_failure_is_told_after_some_frames_and_until_one_opens(keys: KeyProvider) -> None:
    decryptor = FrameDecryptor(keys, "alice")
    told = []
    for index in [3] * FAILURE_TOLERANCE + [0]:
        decryptor.decrypt(Codec.OPUS, opus(KEY, index=index))
        told.append(decryptor.failure)
    assert told == [None] * (FAILURE_TOLERANCE - 1) + [DecryptionOutcome.MISSING_KEY, None]


def test_of_the_server_s_own_frames_only_silence_is_let_through(keys: KeyProvider) -> None:
    silence = b"\xf8\xff\xfe" + bytes(77)
    decryptor = FrameDecryptor(keys, "alice", TRAILER)
    assert decryptor.decrypt(Codec.OPUS, silence + TRAILER) == (DecryptionOutcome.NOT_ENCRYPTED, silence)
    assert decryptor.decrypt(Codec.OPUS, OPUS_PACKET + TRAILER) == (DecryptionOutcome.SERVER_INJECTED, b"")
    assert decryptor.decrypt(Codec.VP8, VP8_KEY_FRAME + TRAILER) == (DecryptionOutcome.SERVER_INJECTED, b"")
    assert FrameDecryptor(keys, "alice").decrypt(Codec.OPUS, silence).outcome == "wrong_key", "no trailer, no server"


def test_the_ratchet_is_followed_without_losing_a_frame_while_keys_are_kept_ahead() -> None:
    keys = provider()
    decryptor = FrameDecryptor(keys, "alice")
    material = MATERIAL
    for number in range(4):
        while (chain := keys.due()) is not None:
            chain.extend()
        encrypted = opus(sender.encryption_key(material), number=number)
        assert decryptor.decrypt(Codec.OPUS, encrypted).data == OPUS_PACKET + bytes((number,))
        material = sender.ratchet(material)
    assert decryptor.decrypt(Codec.OPUS, opus(KEY)).outcome == "wrong_key", "never back"
    assert FrameDecryptor(keys, "alice").decrypt(Codec.OPUS, opus(KEY)).outcome == "decrypted", "each track by itself"


def test_a_key_further_along_the_ratchet_is_searched_within_the_window() -> None:
    keys = KeyProvider()
    keys.set_key(KeyChain(EncryptionKey(b"raw", KeyDerivation.HKDF)))
    decryptor = FrameDecryptor(keys, "alice")
    material = b"raw"
    for _ in range(RATCHET_WINDOW):
        material = sender.raw_ratchet(material)
    last, beyond = sender.raw_encryption_key(material), sender.raw_encryption_key(sender.raw_ratchet(material))
    for frame in (opus(beyond), opus(last)):
        assert decryptor.decrypt(Codec.OPUS, frame).outcome == "wrong_key", "not derived yet"
    while (chain := keys.due()) is not None:
        chain.extend()
    assert decryptor.decrypt(Codec.OPUS, opus(beyond)).outcome == "wrong_key"
    assert keys.due() is None, "a key that does not fit costs no more than the window"
    assert decryptor.decrypt(Codec.OPUS, opus(last)).outcome == "decrypted"


def test_a_new_key_in_the_old_one_s_place_leaves_frames_under_way_readable() -> None:
    keys = provider()
    decryptor = FrameDecryptor(keys, "alice")
    keys.set_key(KeyChain(EncryptionKey(b"new")))
    new = sender.encryption_key(b"new")
    outcomes = [decryptor.decrypt(Codec.OPUS, opus(key)).outcome for key in (KEY, new, KEY, new)]
    assert outcomes == [DecryptionOutcome.DECRYPTED] * 4
    keys.set_key(KeyChain(EncryptionKey(b"newer")))
    assert decryptor.decrypt(Codec.OPUS, opus(KEY)).outcome == "wrong_key"


def test_participants_keys_come_before_the_shared_one() -> None:
    keys = provider()
    keys.set_key(KeyChain(EncryptionKey(b"bob's")), identity="bob", index=2)
    bobs = sender.encryption_key(b"bob's")
    assert keys.has_keys("anybody")
    assert FrameDecryptor(keys, "bob").decrypt(Codec.OPUS, opus(bobs, index=2)).outcome == "decrypted"
    assert FrameDecryptor(keys, "bob").decrypt(Codec.OPUS, opus(KEY)).outcome == "missing_key"
    assert FrameDecryptor(keys, "alice").decrypt(Codec.OPUS, opus(KEY)).outcome == "decrypted"
    assert not KeyProvider().has_keys("alice")


def test_keys_derive_as_the_description_says() -> None:
    assert SALT == sender.SALT
    assert derive(b"x", KeyDerivation.PBKDF2)[:16] == sender.encryption_key(b"x")
    assert derive(b"x", KeyDerivation.PBKDF2) == sender.ratchet(b"x")
    assert derive(b"x", KeyDerivation.HKDF)[:16] == sender.raw_encryption_key(b"x")
    assert derive(b"x", KeyDerivation.HKDF) == sender.raw_ratchet(b"x")


def test_what_people_write_is_a_passphrase_or_a_raw_key_and_never_shown() -> None:
    assert EncryptionKey.parse("pässwort") == EncryptionKey("pässwort".encode(), KeyDerivation.PBKDF2)
    raw = EncryptionKey.parse("base64:" + base64.b64encode(b"\x00" * 32).decode())
    assert raw == EncryptionKey(bytes(32), KeyDerivation.HKDF)
    assert "pässwort" not in repr(EncryptionKey.parse("pässwort"))
    for bad in ("", "base64:", "base64:not base64!"):
        with pytest.raises(InvalidEncryptionKey) as raised:
            EncryptionKey.parse(bad)
        assert "not base64!" not in str(raised.value)


@pytest.mark.parametrize("index", [-1, RING_SIZE])
def test_an_index_out_of_the_ring_is_refused(index: int) -> None:
    with pytest.raises(InvalidEncryptionKey, match="0 to 15"):
        KeyProvider().set_key(KeyChain(EncryptionKey(b"x")), index=index)
