"""RTP that real senders sent: every frame comes out and decodes; what is lost takes only its own frames along."""

from functools import cache
from random import Random
from typing import cast

import av
import pytest
from av.video.codeccontext import VideoCodecContext
from hypothesis import given, settings
from hypothesis import strategies as st

from media.frames import Codec, EncodedFrame, MediaKind
from media.rtp.inbound_stream import InboundStream
from tests.media.rtp.packetisers import annex_b
from tests.media.rtp.rtp_fixture import FIXTURES, RtpFixture

NAMES = sorted(path.stem for path in FIXTURES.glob("*.rtp"))
DECODERS = {Codec.VP8: "vp8", Codec.VP9: "libvpx-vp9", Codec.AV1: "libdav1d", Codec.H264: "h264", Codec.OPUS: "libopus"}


@cache
def load(name: str) -> RtpFixture:
    return RtpFixture.load(FIXTURES / f"{name}.rtp")


@cache
def frames_of(name: str) -> tuple[EncodedFrame, ...]:
    return tuple(load(name).replay())


def kind_of(name: str) -> MediaKind:
    return next(iter(load(name).description.codecs.values())).kind


VIDEO = [name for name in NAMES if kind_of(name) is MediaKind.VIDEO]
AUDIO = [name for name in NAMES if kind_of(name) is MediaKind.AUDIO]
RED = [name for name in AUDIO if load(name).description.red]


@pytest.mark.parametrize("name", NAMES)
def test_every_frame_comes_out_whole_and_in_order(name: str) -> None:
    description, frames = load(name).description, frames_of(name)
    assert len(frames) == description.frames > 30
    assert {frame.codec for frame in frames} <= set(description.codecs.values())
    assert [frame.rtp_timestamp for frame in frames] == sorted({frame.rtp_timestamp for frame in frames})
    assert frames[0].sync_sample
    assert not any(frame.discontinuity for frame in frames)
    sizes = dict.fromkeys((frame.width, frame.height) for frame in frames if frame.sync_sample and frame.width)
    assert list(sizes) == description.sizes


@pytest.mark.parametrize("name", VIDEO)
def test_every_picture_decodes_in_its_size(name: str) -> None:
    frames = frames_of(name)
    codec = frames[0].codec
    decoder = cast(VideoCodecContext, av.CodecContext.create(DECODERS[codec], "r"))
    decoder.thread_count = 1
    pictures = []
    for number, frame in enumerate(frames):
        packet = av.Packet(annex_b(frame.data) if codec is Codec.H264 else frame.data)
        packet.pts = number
        pictures += decoder.decode(packet)
    pictures += decoder.decode(None)
    assert [picture.pts for picture in pictures] == list(range(len(frames)))
    size = (0, 0)
    for frame, picture in zip(frames, pictures, strict=True):
        if frame.sync_sample:
            size = (frame.width, frame.height)
        assert (picture.width, picture.height) == size


@pytest.mark.parametrize("name", AUDIO)
def test_every_packet_of_audio_decodes(name: str) -> None:
    decoder = av.CodecContext.create("libopus", "r")
    decoded = [decoder.decode(av.Packet(frame.data)) for frame in frames_of(name)]
    assert all(decoded)


@pytest.mark.parametrize("name", RED)
def test_of_redundant_audio_every_other_packet_may_be_lost(name: str) -> None:
    fixture = load(name)
    kept = [packet for number, packet in enumerate(fixture.packets) if number % 2 == 0 or number == len(NAMES)]
    stream = InboundStream(fixture.description.config(nack=False))
    frames = RtpFixture(fixture.description, kept).receive(stream)
    whole = {frame.rtp_timestamp: frame.data for frame in frames_of(name)}
    assert all(whole[frame.rtp_timestamp] == frame.data for frame in frames)
    assert stream.stats(0.0).packets_repaired > 0.3 * len(kept)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=8, deadline=None)
@given(random=st.randoms(use_true_random=False), loss=st.floats(0.0, 0.2), late=st.floats(0.0, 0.3))
def test_of_what_is_lost_only_whole_frames_are_missing(name: str, random: Random, loss: float, late: float) -> None:
    fixture = load(name)
    arrivals = []
    for at, data in fixture.packets:
        if random.random() >= loss:
            arrivals.append((at + (random.random() * 0.08 if random.random() < late else 0.0), data))
    hit = RtpFixture(fixture.description, sorted(arrivals, key=lambda arrival: arrival[0]))
    frames = hit.receive(InboundStream(fixture.description.config(nack=False)))
    whole = {frame.data for frame in frames_of(name)}
    assert all(frame.data in whole for frame in frames)
    assert [frame.rtp_timestamp for frame in frames] == sorted({frame.rtp_timestamp for frame in frames})
