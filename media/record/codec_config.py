"""What a sync sample says about its stream, as an init segment needs it (pure)."""

import struct

from media.frames import Codec, EncodedFrame
from media.record.entries import Container
from media.record.open_codecs import av1_config, vp9_config
from media.record.parameter_sets import avc_config, hevc_config
from media.record.sample import CodecConfig

RECORDABLE: dict[Codec, Container] = {
    Codec.H264: Container.FMP4,
    Codec.H265: Container.FMP4,
    Codec.AV1: Container.FMP4,
    Codec.VP9: Container.FMP4,
    Codec.VP8: Container.WEBM,
    Codec.OPUS: Container.FMP4,
}
"""The file format of each codec. VP8 in MP4 is defined, but no browser plays it."""

OPUS_CHANNELS = 2
"""RFC 7587 §7 fixes opus/48000/2 in SDP; a decoder asked for two channels takes mono packets too."""

OPUS_PRE_SKIP = 0
"""A recording joins a running stream, so there is no encoder start to trim; 312 would cut 6.5 ms of real sound
and move every time stamp by as much in players that honor it."""

_IN_BAND = {
    Codec.H264: (avc_config, "parameter sets"),
    Codec.H265: (hevc_config, "parameter sets"),
    Codec.AV1: (av1_config, "sequence header"),
}
"""Codecs whose sync samples may leave out what was said before, and what that is called."""


_LONGEST_SIDE = 0xFFFF
"""A sample entry has 16 bits for each side (ISO/IEC 14496-12 §12.1.3)."""


def codec_config(frame: EncodedFrame, known: CodecConfig | None) -> CodecConfig:
    """The configuration that holds from the sync sample `frame` on; `known` is what held before.

    An H.264, H.265 or AV1 sync sample without parameter sets or sequence header leaves `known` in force.
    Raises ValueError or RtpError when the frame does not say enough to start an init segment, or says what none can
    hold: a side or a parameter set beyond 16 bits.
    """
    try:
        config = _config(frame, known)
    except struct.error as error:
        raise ValueError(f"a sync sample in {frame.codec} does not fit into an init segment: {error}") from error
    if frame.codec is not Codec.OPUS and not all(1 <= side <= _LONGEST_SIDE for side in (config.width, config.height)):
        raise ValueError(f"no file holds {frame.codec} of {config.width}x{config.height}")
    return config


def _config(frame: EncodedFrame, known: CodecConfig | None) -> CodecConfig:
    codec = frame.codec
    if codec is Codec.OPUS:
        return CodecConfig(Codec.OPUS, "opus", channels=OPUS_CHANNELS, codec_private=_opus_head())
    if codec is Codec.VP8:
        width, height = _vp8_size(frame.data)
        return CodecConfig(Codec.VP8, "vp8", width, height)
    if codec is Codec.VP9:
        return vp9_config(frame)
    read, what = _IN_BAND[codec]
    config = read(frame.data)
    if config is not None:
        return config
    if known is None or known.codec is not codec:
        raise ValueError(f"a sync sample in {codec} carries no {what} and none came before")
    return known


def _opus_head() -> bytes:
    """OpusSpecificBox payload, Opus in ISOBMFF §4.3.2: version 0, 48 kHz, no gain, mapping family 0."""
    return struct.pack(">BBHIhB", 0, OPUS_CHANNELS, OPUS_PRE_SKIP, 48_000, 0, 0)


def _vp8_size(data: bytes) -> tuple[int, int]:
    """Width and height in a VP8 key frame's header (RFC 6386 §9.1), scaling bits left out."""
    if len(data) < 10 or data[0] & 1 or data[3:6] != b"\x9d\x01\x2a":
        raise ValueError("a VP8 sync sample is no key frame")
    width, height = struct.unpack_from("<HH", data, 6)
    return width & 0x3FFF, height & 0x3FFF
