"""Fragmented MP4 as bytes: init segments and media parts (pure).

Sources: ISO/IEC 14496-12 (boxes, fragments), ISO/IEC 14496-15 (H.264, H.265), the ISO media file format bindings of
VP9 and AV1, "Encapsulation of Opus in ISO Base Media File Format" 0.6.8, ISO/IEC 23000-19 (CMAF; brand `cmfc`).

H.264 is stored as `avc3` and H.265 as `hev1`: our samples keep their parameter sets in band, which `avc1` and `hvc1`
forbid (14496-15 §5.3.3, §8.3.3). `avcC` and `hvcC` hold them as well, so that a decoder is ready before the first
sample. FFmpeg, Chromium and Firefox read them; an exporter that needs the others removes the in-band sets and
renames the entry.
"""

import struct
from collections.abc import Sequence

from media.frames import Codec
from media.record.sample import CodecConfig, MovieTrack, Sample

NOTE_MAGIC = b"roomhand"
"""Marks the one `free` box whose text is ours: what repair needs when the journal is gone."""

_TRACK_ID = 1
_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_UNDETERMINED = 0x55C4
"""The language "und" in three 5-bit letters (14496-12 §8.4.2)."""

_FLAGS_SYNC = 0x02000000
_FLAGS_NOT_SYNC = 0x01010000
"""sample_depends_on 2 (no) or 1 (yes) and sample_is_non_sync_sample (14496-12 §8.8.3.1)."""

_DEFAULT_BASE_IS_MOOF = 0x020000
_TRUN_FLAGS = 0x000701
"""data-offset, and per sample: duration, size and flags (14496-12 §8.8.8)."""

VISUAL_ENTRIES = {
    Codec.H264: (b"avc3", b"avcC"),
    Codec.H265: (b"hev1", b"hvcC"),
    Codec.VP9: (b"vp09", b"vpcC"),
    Codec.AV1: (b"av01", b"av1C"),
}
"""The sample entry of each video codec and the box in it that holds `CodecConfig.codec_private`."""

_OPUS_PRE_ROLL_SAMPLES = 4
"""80 ms of 20 ms packets until a decoder that starts anywhere has converged (Opus in ISOBMFF §4.3.6.2)."""


def box(kind: bytes, *payload: bytes) -> bytes:
    """A box with a 32-bit size."""
    size = 8 + sum(map(len, payload))
    return b"".join((size.to_bytes(4), kind, *payload))


def full_box(kind: bytes, version: int, flags: int, *payload: bytes) -> bytes:
    """A box that begins with a version and 24 bits of flags."""
    return box(kind, ((version << 24) | flags).to_bytes(4), *payload)


def note_box(note: bytes) -> bytes:
    """`note` in a `free` box, which every reader skips; nothing for an empty note."""
    return box(b"free", NOTE_MAGIC, note) if note else b""


def init_segment(config: CodecConfig, timescale: int, note: bytes = b"") -> bytes:
    """`ftyp`, `moov` and the note for one track. `timescale` in Hz."""
    return movie_header([MovieTrack(_TRACK_ID, config, timescale)], note)


def movie_header(tracks: Sequence[MovieTrack], note: bytes = b"") -> bytes:
    """`ftyp`, `moov` and the note for any number of tracks, whose fragments follow."""
    has_av1 = any(track.config.codec is Codec.AV1 for track in tracks)
    codec_brand = b"av01" if has_av1 else b""  # AV1 binding §2.1
    brands = box(b"ftyp", b"iso6", bytes(4), b"iso6", b"cmfc", b"mp41", codec_brand)
    next_id = max(track.track_id for track in tracks) + 1
    movie = struct.pack(">IIIIIH10x", 0, 0, tracks[0].timescale, 0, 0x10000, 0x100) + _MATRIX + bytes(24)
    movie += next_id.to_bytes(4)
    extends = [full_box(b"trex", 0, 0, struct.pack(">5I", track.track_id, 1, 0, 0, 0)) for track in tracks]
    moov = box(b"moov", full_box(b"mvhd", 0, 0, movie), *map(_track, tracks), box(b"mvex", *extends))
    return brands + moov + note_box(note)


def segment_head(note: bytes) -> bytes:
    """What a media segment begins with: `styp` and the note."""
    return box(b"styp", b"cmfs", bytes(4), b"iso6", b"cmfc", b"cmfs") + note_box(note)


def media_part(codec: Codec, sequence_number: int, samples: Sequence[Sample], track_id: int = _TRACK_ID) -> bytes:
    """One `moof` with its `mdat`. Samples must follow each other without a hole; the first gives `tfdt`.

    `sequence_number` (taken modulo 2**32) must grow from part to part of a track, or of a file with several.
    """
    header = full_box(b"mfhd", 0, 0, (sequence_number & 0xFFFFFFFF).to_bytes(4))
    track_header = full_box(b"tfhd", 0, _DEFAULT_BASE_IS_MOOF, track_id.to_bytes(4))
    decode_time = full_box(b"tfdt", 1, 0, samples[0].decode_time.to_bytes(8))
    runs = b"".join(
        struct.pack(">III", s.duration, len(s.data), _FLAGS_SYNC if s.sync_sample else _FLAGS_NOT_SYNC) for s in samples
    )
    trun_bytes = 12 + 8 + len(runs)
    groups = b""
    if codec is Codec.OPUS:
        groups = full_box(b"sbgp", 0, 0, struct.pack(">4sIII", b"roll", 1, len(samples), 1))
    moof_bytes = 8 + len(header) + 8 + len(track_header) + len(decode_time) + trun_bytes + len(groups)
    run = full_box(b"trun", 0, _TRUN_FLAGS, struct.pack(">II", len(samples), moof_bytes + 8), runs)
    moof = box(b"moof", header, box(b"traf", track_header, decode_time, run, groups))
    return moof + box(b"mdat", *(sample.data for sample in samples))


def _track(track: MovieTrack) -> bytes:
    config, timescale = track.config, track.timescale
    video = config.width > 0
    header = full_box(
        b"tkhd",
        0,
        7,
        struct.pack(">IIIII8xHHHH", 0, 0, track.track_id, 0, 0, 0, 0, 0 if video else 0x100, 0),
        _MATRIX,
        struct.pack(">II", config.width << 16, config.height << 16),
    )
    handler, name = (b"vide", b"video\0") if video else (b"soun", b"audio\0")
    media_header = full_box(b"vmhd", 0, 1, bytes(8)) if video else full_box(b"smhd", 0, 0, bytes(4))
    reference = full_box(b"dref", 0, 0, (1).to_bytes(4), full_box(b"url ", 0, 1))
    media = box(
        b"mdia",
        full_box(b"mdhd", 0, 0, struct.pack(">IIIIHH", 0, 0, timescale, 0, _UNDETERMINED, 0)),
        full_box(b"hdlr", 0, 0, bytes(4), handler, bytes(12), name),
        box(b"minf", media_header, box(b"dinf", reference), _sample_table(config)),
    )
    return box(b"trak", header, media)


def _sample_table(config: CodecConfig) -> bytes:
    entry = _opus_entry(config) if config.codec is Codec.OPUS else _visual_entry(config)
    groups = b""
    if config.codec is Codec.OPUS:
        groups = full_box(b"sgpd", 1, 0, struct.pack(">4sIIh", b"roll", 2, 1, -_OPUS_PRE_ROLL_SAMPLES))
    return box(
        b"stbl",
        full_box(b"stsd", 0, 0, (1).to_bytes(4), entry),
        full_box(b"stts", 0, 0, bytes(4)),
        full_box(b"stsc", 0, 0, bytes(4)),
        full_box(b"stsz", 0, 0, bytes(8)),
        full_box(b"stco", 0, 0, bytes(4)),
        groups,
    )


def _visual_entry(config: CodecConfig) -> bytes:
    """VisualSampleEntry (14496-12 §12.1.3): 72 dpi, one frame per sample, no compressor name, depth 24."""
    fields = struct.pack(">6xH16xHHIIIH32xHh", 1, config.width, config.height, 0x480000, 0x480000, 0, 1, 0x18, -1)
    entry, configuration = VISUAL_ENTRIES[config.codec]
    return box(entry, fields, box(configuration, config.codec_private))


def _opus_entry(config: CodecConfig) -> bytes:
    """AudioSampleEntry (14496-12 §12.2.3); Opus in ISOBMFF §4.3.1 fixes 48 kHz and 16 bits."""
    fields = struct.pack(">6xH8xHH4xI", 1, config.channels, 16, 48_000 << 16)
    return box(b"Opus", fields, box(b"dOps", config.codec_private))
