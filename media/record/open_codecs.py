"""Configuration records of VP9 and AV1, from their sync samples (pure).

Sources: VP Codec ISO Media File Format Binding 1.0, AV1 Codec ISO Media File Format Binding 1.3.
"""

from media.bitstream.av1_obu import ObuType, read_obus, with_size
from media.bitstream.av1_sequence_header import ColorConfig, SequenceHeader, parse_color_config, parse_sequence_header
from media.bitstream.vp9 import parse_key_frame
from media.frames import Codec, EncodedFrame
from media.record.sample import CodecConfig

_VP9_LEVELS = (
    (10, 829_440, 36_864, 512),
    (11, 2_764_800, 73_728, 768),
    (20, 4_608_000, 122_880, 960),
    (21, 9_216_000, 245_760, 1_344),
    (30, 20_736_000, 552_960, 2_048),
    (31, 36_864_000, 983_040, 2_752),
    (40, 83_558_400, 2_228_224, 4_160),
    (41, 160_432_128, 2_228_224, 4_160),
    (50, 311_951_360, 8_912_896, 8_384),
    (51, 588_251_136, 8_912_896, 8_384),
    (52, 1_176_502_272, 8_912_896, 8_384),
    (60, 1_176_502_272, 35_651_584, 16_832),
    (61, 2_353_004_544, 35_651_584, 16_832),
)
"""VP9 levels times ten with their largest luma sample rate, picture and side (VP9 level definitions)."""

_HIGHEST_VP9_LEVEL = 62

_FRAME_RATE = 60
"""A level promises that a decoder keeps up, and the stream does not say its rate; no WebRTC sender goes beyond this."""

_VP9_COLORS = {1: (6, 6, 6), 2: (1, 1, 1), 3: (6, 6, 6), 4: (7, 7, 7), 5: (9, 14, 9), 7: (1, 13, 0)}
"""color_space of a frame as primaries, transfer and matrix of ISO/IEC 23091-4; unknown ones are unspecified."""

_UNSPECIFIED = (2, 2, 2)

_VP9_SUBSAMPLING = {(1, 1): 1, (1, 0): 2, (0, 0): 3}
"""4:2:0 with chroma where luma is, 4:2:2, 4:4:4 (binding, "chromaSubsampling")."""

_BT_709_LIMITED = (1, 1, 1, 0)
"""What a `codecs` parameter means when it leaves the colours out (VP binding, "Codecs Parameter String"; AV1 §5)."""


def vp9_config(frame: EncodedFrame) -> CodecConfig:
    """The configuration of a VP9 key frame. Raises RtpError for another, ValueError for one that MP4 cannot tell of."""
    told = parse_key_frame(frame.data)
    # A superframe of spatial layers begins with the smallest; the receiver knows the size of the whole.
    width, height = (frame.width, frame.height) if frame.width else (told.width, told.height)
    subsampling = _VP9_SUBSAMPLING.get((told.colors.subsampling_x, told.colors.subsampling_y))
    if subsampling is None:
        raise ValueError("VP9 with 4:4:0 sampling cannot be stored in MP4; publish 4:2:0")
    level = _vp9_level(width, height)
    colors = (*_VP9_COLORS.get(told.colors.color_space, _UNSPECIFIED), int(told.colors.full_range))
    depth = told.colors.bit_depth
    record = bytes((1, 0, 0, 0, told.profile, level, depth << 4 | subsampling << 1 | colors[3], *colors[:3]))
    codec_string = f"vp09.{told.profile:02}.{level:02}.{depth:02}"
    if (subsampling, colors) != (1, _BT_709_LIMITED):
        codec_string += f".{subsampling:02}" + "".join(f".{value:02}" for value in colors)
    return CodecConfig(Codec.VP9, codec_string, width, height, codec_private=record + bytes(2))


def av1_config(data: bytes) -> CodecConfig | None:
    """The configuration of an AV1 sync sample; None when it lacks a sequence header. Raises RtpError.

    The size is the sequence's largest, as the sample entry must say (AV1 binding §2.2.4).
    """
    header = next((obu for obu in read_obus(data) if obu.type == ObuType.SEQUENCE_HEADER), None)
    if header is None:
        return None
    told, colors = parse_sequence_header(header.payload), parse_color_config(header.payload)
    record = bytes((0x81, told.profile << 5 | told.level_idx, told.tier << 7 | _av1_format(colors), 0))
    size = told.max_width, told.max_height
    return CodecConfig(Codec.AV1, _av1_string(told, colors), *size, codec_private=record + with_size(header))


def _vp9_level(width: int, height: int) -> int:
    size, side = width * height, max(width, height)
    for level, rate, largest, longest in _VP9_LEVELS:
        if size <= largest and side <= longest and size * _FRAME_RATE <= rate:
            return level
    return _HIGHEST_VP9_LEVEL


def _av1_format(colors: ColorConfig) -> int:
    """The third byte of `av1C` without the tier (AV1 binding §2.3.3)."""
    depth = (colors.bit_depth > 8) << 6 | (colors.bit_depth == 12) << 5
    sampling = colors.subsampling_x << 3 | colors.subsampling_y << 2 | colors.chroma_sample_position
    return depth | colors.monochrome << 4 | sampling


def _av1_string(told: SequenceHeader, colors: ColorConfig) -> str:
    """AV1 binding §5: the fields behind the bit depth are left out when all of them have their defaults."""
    tier = "H" if told.tier else "M"
    text = f"av01.{told.profile}.{told.level_idx:02}{tier}.{colors.bit_depth:02}"
    values = (
        colors.color_primaries,
        colors.transfer_characteristics,
        colors.matrix_coefficients,
        int(colors.full_range),
    )
    sampling = f"{colors.subsampling_x}{colors.subsampling_y}{colors.chroma_sample_position}"
    if (colors.monochrome, sampling, values) == (False, "110", _BT_709_LIMITED):
        return text
    primaries, transfer, matrix, full_range = values
    return f"{text}.{colors.monochrome:d}.{sampling}.{primaries:02}.{transfer:02}.{matrix:02}.{full_range}"
