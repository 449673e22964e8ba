"""What a sync sample says about its stream, as an init segment needs it (pure)."""

import struct
from collections.abc import Iterator

from media.errors import UnsupportedCodec
from media.frames import Codec, EncodedFrame
from media.record.entries import Container
from media.record.h264_sps import BitReader, SequenceParameters, parse_sps
from media.record.sample import CodecConfig

RECORDABLE: dict[Codec, Container] = {
    Codec.H264: Container.FMP4,
    Codec.OPUS: Container.FMP4,
    Codec.VP8: Container.WEBM,
    Codec.VP9: Container.WEBM,
}
"""The codecs that can be recorded, and in which file format."""

OPUS_CHANNELS = 2
"""RFC 7587 §7 fixes opus/48000/2 in SDP; a decoder asked for two channels takes mono packets too."""

OPUS_PRE_SKIP = 0
"""A recording joins a running stream, so there is no encoder start to trim; 312 would cut 6.5 ms of real sound
and move every time stamp by as much in players that honor it."""

_NAL_SPS, _NAL_PPS = 7, 8

_AVCC_EXTENDED_PROFILES = frozenset({100, 110, 122, 144})
"""profile_idc values for which avcC repeats them (ISO/IEC 14496-15 §5.3.3.1.2)."""

_VP9_SYNC_CODE = 0x498342


def codec_config(frame: EncodedFrame, known: CodecConfig | None) -> CodecConfig:
    """The configuration that holds from the sync sample `frame` on; `known` is what held before.

    An H.264 sync sample without parameter sets leaves `known` in force. Raises UnsupportedCodec for a
    codec that cannot be recorded, ValueError when the frame does not say enough to start an init segment.
    """
    if frame.codec is Codec.OPUS:
        return CodecConfig(Codec.OPUS, "opus", channels=OPUS_CHANNELS, codec_private=_opus_head())
    if frame.codec is Codec.VP8:
        width, height = _vp8_size(frame.data)
        return CodecConfig(Codec.VP8, "vp8", width, height)
    if frame.codec is Codec.VP9:
        width, height = (frame.width, frame.height) if frame.width else _vp9_size(frame.data)
        return CodecConfig(Codec.VP9, "vp9", width, height)
    if frame.codec is Codec.H264:
        return _h264_config(frame.data, known)
    raise UnsupportedCodec(f"{frame.codec} cannot be recorded; publish one of {', '.join(RECORDABLE)}")


def length_prefixed_units(data: bytes) -> Iterator[bytes]:
    """The NAL units of an access unit with 4-byte lengths. Raises ValueError when a length overruns it."""
    position = 0
    while position < len(data):
        if position + 4 > len(data):
            raise ValueError("a NAL unit's length is cut off")
        end = position + 4 + int.from_bytes(data[position : position + 4])
        if end > len(data):
            raise ValueError("a NAL unit is longer than its access unit")
        yield data[position + 4 : end]
        position = end


def _h264_config(data: bytes, known: CodecConfig | None) -> CodecConfig:
    sps: list[bytes] = []
    pps: list[bytes] = []
    for unit in length_prefixed_units(data):
        kind = unit[0] & 0x1F if unit else 0
        units = sps if kind == _NAL_SPS else pps if kind == _NAL_PPS else None
        if units is not None and unit not in units:
            units.append(unit)
    if not sps or not pps:
        if known is not None and known.codec is Codec.H264:
            return known
        raise ValueError("an H.264 sync sample carries no parameter sets and none came before")
    parameters = parse_sps(sps[0])
    codec_string = f"avc3.{sps[0][1:4].hex().upper()}"
    private = _avcc(sps, pps, parameters)
    return CodecConfig(Codec.H264, codec_string, parameters.width, parameters.height, codec_private=private)


def _avcc(sps: list[bytes], pps: list[bytes], parameters: SequenceParameters) -> bytes:
    """AVCDecoderConfigurationRecord, ISO/IEC 14496-15 §5.3.3.1.2, with 4-byte NAL unit lengths."""
    record = bytearray((1, *sps[0][1:4], 0xFC | 3, 0xE0 | len(sps)))
    for unit in sps:
        record += struct.pack(">H", len(unit)) + unit
    record.append(len(pps))
    for unit in pps:
        record += struct.pack(">H", len(unit)) + unit
    if sps[0][1] in _AVCC_EXTENDED_PROFILES:
        luma, chroma = parameters.bit_depth_luma - 8, parameters.bit_depth_chroma - 8
        record += bytes((0xFC | parameters.chroma_format_idc, 0xF8 | luma, 0xF8 | chroma, 0))
    return bytes(record)


def _opus_head() -> bytes:
    """OpusSpecificBox payload, Opus in ISOBMFF §4.3.2: version 0, 48 kHz, no gain, mapping family 0."""
    return struct.pack(">BBHIhB", 0, OPUS_CHANNELS, OPUS_PRE_SKIP, 48_000, 0, 0)


def _vp8_size(data: bytes) -> tuple[int, int]:
    """Width and height in a VP8 key frame's header (RFC 6386 §9.1), scaling bits left out."""
    if len(data) < 10 or data[0] & 1 or data[3:6] != b"\x9d\x01\x2a":
        raise ValueError("a VP8 sync sample is no key frame")
    width, height = struct.unpack_from("<HH", data, 6)
    return width & 0x3FFF, height & 0x3FFF


def _vp9_size(data: bytes) -> tuple[int, int]:
    """Width and height in a VP9 key frame's uncompressed header (VP9 bitstream §6.2, §6.2.2)."""
    bits = BitReader(data[:24])
    marker, profile = bits.read(2), bits.read(1) | bits.read(1) << 1
    if profile == 3:
        bits.read(1)
    show_existing, frame_type = bits.read(1), bits.read(1)
    bits.read(2)
    if marker != 2 or show_existing or frame_type or bits.read(24) != _VP9_SYNC_CODE:
        raise ValueError("a VP9 sync sample is no key frame")
    if profile >= 2:
        bits.read(1)
    color_space = bits.read(3)
    if color_space != 7:
        bits.read(1)
        if profile in {1, 3}:
            bits.read(3)
    elif profile in {1, 3}:
        bits.read(1)
    return bits.read(16) + 1, bits.read(16) + 1
