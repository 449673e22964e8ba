"""Opus against RFC 7587, RFC 6716 and FFmpeg's decoder."""

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.errors import RtpError
from media.rtp.depacketise.opus import OpusDepacketiser, opus_duration
from tests.media.rtp.packetisers import OPUS_PAYLOAD_TYPE, Sender


@pytest.mark.parametrize("payload", [b"\x78" + bytes(40), b"\x78", b"\x78\x00", b""])
def test_payloads_are_kept_as_they_are(payload: bytes) -> None:
    opus = OpusDepacketiser()
    (packet,) = Sender(payload_type=OPUS_PAYLOAD_TYPE).frame([payload], 960)
    assembled = opus.assemble([packet])
    assert (assembled.data, assembled.sync_sample, assembled.width) == (payload, True, 0)
    assert opus.starts_frame(packet)
    assert opus.starts_sync_sample(packet)
    assert not opus.follows(packet, packet)


@pytest.mark.parametrize(
    ("packet", "samples"),
    [
        (b"", 0),
        (b"\x00", 480),  # SILK 10 ms
        (b"\x18", 2880),  # SILK 60 ms
        (b"\x60", 480),  # hybrid 10 ms
        (b"\x78\xff", 960),  # hybrid 20 ms
        (b"\x80", 120),  # CELT 2.5 ms
        (b"\xfc\xff\xfe", 960),  # CELT 20 ms, stereo
        (b"\xf9", 1920),  # two frames of one size
        (b"\xfa\x01", 1920),  # two frames of two sizes
        (b"\xfb\x06", 5760),  # six frames
        (b"\x83\xb0", 5760),  # 48 frames of 2.5 ms, VBR with padding
    ],
)
def test_durations(packet: bytes, samples: int) -> None:
    assert opus_duration(packet) == samples


@pytest.mark.parametrize("packet", [b"\xfb", b"\xfb\x00", b"\xfb\x07", b"\x1b\x03"])
def test_refuses_impossible_durations(packet: bytes) -> None:
    with pytest.raises(RtpError):
        opus_duration(packet)


@given(st.binary(max_size=4))
def test_any_packet_has_a_duration_or_is_refused(packet: bytes) -> None:
    try:
        assert 0 <= opus_duration(packet) <= 5760
    except RtpError:
        return


@pytest.mark.parametrize("frame_duration", ["2.5", "5", "10", "20", "40", "60"])
def test_durations_of_libopus_packets(frame_duration: str) -> None:
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = 48_000, "stereo", "s16"
    encoder.options = {"frame_duration": frame_duration}
    encoder.open()
    frame = av.AudioFrame("s16", "stereo", encoder.frame_size)
    frame.sample_rate = 48_000
    packets = [bytes(packet) for _ in range(4) for packet in encoder.encode(frame)]
    assert packets
    assert {opus_duration(packet) for packet in packets} == {encoder.frame_size}
