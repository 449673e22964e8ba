"""A track with end-to-end encryption from packets to frames: in the clear with the key, withheld without."""

from media.bitstream.vp9 import split_superframe
from media.e2ee.frame_decryptor import FrameDecryptor
from media.e2ee.key_provider import KeyProvider
from media.e2ee.keys import EncryptionKey, KeyChain
from media.frames import Codec, EncodedFrame
from media.rtp.inbound_stream import InboundStream, InboundStreamConfig, StreamOutput
from tests.media.e2ee import sender as encryption
from tests.media.rtp.encodings import encode_h264, encode_h265, encode_vp9
from tests.media.rtp.packetisers import (
    AV1_PAYLOAD_TYPE,
    H264_PAYLOAD_TYPE,
    H265_PAYLOAD_TYPE,
    OPUS_PAYLOAD_TYPE,
    VP8_PAYLOAD_TYPE,
    VP9_PAYLOAD_TYPE,
    Sender,
    annex_b,
    h264_payloads,
    h265_payloads,
    split_annex_b,
    vp8_frame,
    vp9_payloads,
)

START = 1_700_000_000.0
KEY = encryption.encryption_key(b"open sesame")
TRAILER = b"trailer of the server"


class EncryptedTrack:
    """A stream, its sender, and keys that may come later."""

    def __init__(self, codec: Codec, payload_type: int, *, has_key: bool = True) -> None:
        self.keys = KeyProvider()
        if has_key:
            self.keys.set_key(KeyChain(EncryptionKey(b"open sesame")))
        self.decryptor = FrameDecryptor(self.keys, "alice", TRAILER)
        config = InboundStreamConfig(codecs={payload_type: codec})
        self.stream = InboundStream(config, decryptor=self.decryptor)
        self.sender = Sender(payload_type=payload_type)
        self.frames: list[EncodedFrame] = []
        self.now = START

    def receive(self, payloads: list[bytes], ticks: int) -> StreamOutput:
        self.now += 0.2
        for packet in self.sender.frame(payloads, ticks):
            self.stream.receive(packet, self.now)
        output = self.stream.poll(self.now)
        self.frames += output.frames
        return output

    def vp8(self, number: int, *, keyframe: bool = False, suffix: bytes = b"", index: int = 0) -> StreamOutput:
        frame = vp8_frame(keyframe=keyframe, seed=number)
        data = frame + suffix if suffix else encryption.encrypt(KEY, frame, 10 if keyframe else 3, index=index)
        self.now += 0.2
        for packet in self.sender.vp8(data, 18_000 * number, 100):
            self.stream.receive(packet, self.now)
        output = self.stream.poll(self.now)
        self.frames += output.frames
        return output


def test_vp8_comes_out_in_the_clear() -> None:
    track = EncryptedTrack(Codec.VP8, VP8_PAYLOAD_TYPE)
    for number in range(4):
        track.vp8(number, keyframe=number == 0)
    assert [frame.data for frame in track.frames] == [vp8_frame(keyframe=n == 0, seed=n) for n in range(4)]
    assert (track.frames[0].width, track.frames[0].height, track.frames[0].sync_sample) == (640, 360, True)
    assert track.stream.stats(track.now).frames_undecryptable == 0


def test_without_the_key_nothing_comes_out_and_no_key_frame_is_asked_for() -> None:
    track = EncryptedTrack(Codec.VP8, VP8_PAYLOAD_TYPE, has_key=False)
    asked = [track.vp8(number, keyframe=number == 0).request_keyframe for number in range(20)]
    assert track.frames == []
    assert not any(asked)
    stats = track.stream.stats(track.now)
    assert (stats.frames_undecryptable, stats.frames_received) == (20, 20)
    assert track.decryptor.failure == "missing_key"


def test_a_key_that_comes_later_lets_the_track_go_on_with_a_sync_sample_that_is_asked_for() -> None:
    track = EncryptedTrack(Codec.VP8, VP8_PAYLOAD_TYPE)
    track.vp8(0, keyframe=True)
    for number in range(1, 4):
        track.vp8(number, index=1)
    track.keys.set_key(KeyChain(EncryptionKey(b"open sesame")), index=1)
    assert track.vp8(4, index=1).request_keyframe
    track.vp8(5, keyframe=True, index=1)
    track.vp8(6, index=1)
    assert [frame.rtp_timestamp for frame in track.frames] == [0, 5 * 18_000, 6 * 18_000]
    resumed = track.frames[1]
    assert (resumed.sync_sample, resumed.discontinuity, resumed.undecryptable_before) == (True, True, 3)
    assert track.frames[2].undecryptable_before == 0


def test_a_picture_that_the_server_made_up_is_dropped_as_blank_ones_are() -> None:
    track = EncryptedTrack(Codec.VP8, VP8_PAYLOAD_TYPE)
    track.vp8(0, keyframe=True)
    track.vp8(1, keyframe=True, suffix=TRAILER)
    track.vp8(2)
    track.vp8(3, keyframe=True)
    assert [frame.rtp_timestamp for frame in track.frames] == [0, 3 * 18_000]
    stats = track.stream.stats(track.now)
    assert (stats.blank_frames_dropped, stats.frames_undecryptable) == (1, 0)


def test_h264_of_several_slices_comes_out_as_it_was_encoded() -> None:
    track = EncryptedTrack(Codec.H264, H264_PAYLOAD_TYPE)
    units = encode_h264(slices=3)
    for number, unit in enumerate(units):
        stream = b"".join(b"\x00\x00\x00\x01" + nal for nal in split_annex_b(unit))
        first_slice = next(nal for nal in split_annex_b(unit) if nal[0] & 0x1F in {1, 5})
        clear = stream.index(first_slice) + 2
        encrypted = encryption.encrypt(KEY, stream, clear, iv=number.to_bytes(12, "big"), escape=True)
        track.receive(h264_payloads(split_annex_b(encrypted)), 18_000 * number)
    assert [split_annex_b(annex_b(frame.data)) for frame in track.frames] == [split_annex_b(unit) for unit in units]
    assert sum(frame.sync_sample for frame in track.frames) == 2
    assert track.frames[0].width == 318


def test_opus_goes_on_through_the_server_s_silence_and_empty_packets() -> None:
    track = EncryptedTrack(Codec.OPUS, OPUS_PAYLOAD_TYPE)
    packet, silence = b"\x78" + bytes(60), b"\xf8\xff\xfe" + bytes(77)
    payloads = [encryption.encrypt(KEY, packet, 1), silence + TRAILER, packet, encryption.encrypt(KEY, packet, 1)]
    for number, payload in enumerate(payloads):
        track.receive([payload], 960 * number)
    assert [frame.data for frame in track.frames] == [packet, silence, packet]
    assert [frame.undecryptable_before for frame in track.frames] == [0, 0, 1], "one came in the clear: not taken"


def test_each_spatial_layer_of_a_vp9_picture_is_decrypted_by_itself() -> None:
    track = EncryptedTrack(Codec.VP9, VP9_PAYLOAD_TYPE)
    key, delta = encode_vp9()[:2]
    for number, layers in enumerate([[key, delta], [delta, delta]]):
        encrypted = [encryption.encrypt(KEY, layer, 0, iv=bytes(11) + bytes((at,))) for at, layer in enumerate(layers)]
        track.receive(vp9_payloads(encrypted, number, 300, keyframe=number == 0, flexible=True), 18_000 * number)
    assert [split_superframe(frame.data) for frame in track.frames] == [[key, delta], [delta, delta]]
    broken = [encryption.encrypt(KEY, delta, 0), encryption.encrypt(bytes(16), delta, 0)]
    track.receive(vp9_payloads(broken, 2, 300, keyframe=False, flexible=True), 36_000)
    assert len(track.frames) == 2
    assert track.stream.stats(track.now).frames_undecryptable == 1


def test_h265_comes_out_as_it_was_encoded() -> None:
    track = EncryptedTrack(Codec.H265, H265_PAYLOAD_TYPE)
    units = encode_h265()
    for number, unit in enumerate(units):
        stream = b"".join(b"\x00\x00\x00\x01" + nal for nal in split_annex_b(unit))
        first_slice = next(nal for nal in split_annex_b(unit) if nal[0] >> 1 < 32)
        clear = stream.index(first_slice) + 2
        encrypted = encryption.encrypt(KEY, stream, clear, iv=number.to_bytes(12, "big"), escape=True)
        track.receive(h265_payloads(split_annex_b(encrypted), 300), 18_000 * number)
    assert [split_annex_b(annex_b(frame.data)) for frame in track.frames] == [split_annex_b(unit) for unit in units]


def test_av1_is_told_as_unsupported_and_nothing_of_it_comes_out() -> None:
    track = EncryptedTrack(Codec.AV1, AV1_PAYLOAD_TYPE)
    for number in range(12):
        track.receive([b"\x18" + bytes(range(40, 240))], 18_000 * number)
    assert track.frames == []
    assert track.decryptor.failure == "unsupported"
