"""WebM as bytes: init segments and clusters (pure).

Sources: RFC 8794 (EBML), RFC 9559 (Matroska), the WebM container guidelines. The `Segment` has an unknown
size, so that an init segment and any number of cluster files, one after the other, are one valid file while
it still grows.
"""

import struct
from collections.abc import Sequence

from media.frames import Codec
from media.record.sample import CodecConfig, MovieTrack, Sample

TIMESTAMP_HZ = 1000
"""Ticks per second of block timestamps: TimestampScale is 1 ms, which WebM asks for."""

NOTE_MAGIC = b"roomhand"
"""Marks the `Void` element whose text is ours: what repair needs when the journal is gone."""

CODEC_IDS = {
    Codec.VP8: "V_VP8",
    Codec.VP9: "V_VP9",
    Codec.AV1: "V_AV1",
    Codec.OPUS: "A_OPUS",
}

ID_EBML, ID_SEGMENT, ID_VOID = 0x1A45DFA3, 0x18538067, 0xEC
ID_CLUSTER, ID_TIMESTAMP, ID_SIMPLE_BLOCK = 0x1F43B675, 0xE7, 0xA3
KEYFRAME_FLAG = 0x80
_ID_INFO, _ID_TRACKS = 0x1549A966, 0x1654AE6B

_UNKNOWN_SIZE = b"\x01" + b"\xff" * 7
_TRACK_NUMBER = 1
_MAX_BLOCK_OFFSET = 0x7FFF
"""A block's time is a signed 16-bit offset from its cluster's (RFC 9559 §10.2)."""

_OPUS_SEEK_PRE_ROLL_NS = 80_000_000
"""What WebM asks for Opus: 80 ms."""


def milliseconds(decode_time: int, timescale: int) -> int:
    """`decode_time` in whole milliseconds, halves up: what a WebM file stores."""
    return (decode_time * 2 * TIMESTAMP_HZ + timescale) // (2 * timescale)


def element(identifier: int, *payload: bytes) -> bytes:
    """An EBML element with a known size."""
    size = sum(map(len, payload))
    return b"".join((_id_bytes(identifier), _size_bytes(size), *payload))


def note_element(note: bytes) -> bytes:
    """`note` in a `Void` element, which every reader skips; nothing for an empty note."""
    return element(ID_VOID, NOTE_MAGIC, note) if note else b""


def init_segment(config: CodecConfig, note: bytes = b"") -> bytes:
    """The EBML header, the start of the `Segment`, the note, `Info` and `Tracks` for one track."""
    return movie_header([MovieTrack(_TRACK_NUMBER, config, config.codec.clock_rate)], note)


def movie_header(tracks: Sequence[MovieTrack], note: bytes = b"") -> bytes:
    """As `init_segment`, for any number of tracks."""
    header = element(
        ID_EBML,
        _unsigned(0x4286, 1),
        _unsigned(0x42F7, 1),
        _unsigned(0x42F2, 4),
        _unsigned(0x42F3, 8),
        element(0x4282, b"webm"),
        _unsigned(0x4287, 4),
        _unsigned(0x4285, 2),
    )
    information = element(
        _ID_INFO,
        _unsigned(0x2AD7B1, 1_000_000_000 // TIMESTAMP_HZ),
        element(0x4D80, b"roomhand"),
        element(0x5741, b"roomhand"),
    )
    segment = _id_bytes(ID_SEGMENT) + _UNKNOWN_SIZE
    return header + segment + note_element(note) + information + element(_ID_TRACKS, *map(_track_entry, tracks))


def segment_head(note: bytes) -> bytes:
    """What a media segment begins with: the note."""
    return note_element(note)


def media_part(samples: Sequence[Sample], timescale: int, track_number: int = _TRACK_NUMBER) -> bytes:
    """One cluster with `samples` as SimpleBlocks; more only when they span over 32 s.

    WebM keeps no durations; a block ends where the next begins.
    """
    clusters: list[bytes] = []
    blocks: list[bytes] = []
    start = milliseconds(samples[0].decode_time, timescale)
    for sample in samples:
        offset = milliseconds(sample.decode_time, timescale) - start
        if offset > _MAX_BLOCK_OFFSET:
            clusters.append(element(ID_CLUSTER, _unsigned(ID_TIMESTAMP, start), *blocks))
            blocks = []
            start, offset = start + offset, 0
        header = struct.pack(">BhB", 0x80 | track_number, offset, KEYFRAME_FLAG if sample.sync_sample else 0)
        blocks.append(element(ID_SIMPLE_BLOCK, header, sample.data))
    clusters.append(element(ID_CLUSTER, _unsigned(ID_TIMESTAMP, start), *blocks))
    return b"".join(clusters)


def _track_entry(track: MovieTrack) -> bytes:
    config = track.config
    video = config.width > 0
    parts = [
        _unsigned(0xD7, track.track_id),
        _unsigned(0x73C5, track.track_id),
        _unsigned(0x83, 1 if video else 2),
        _unsigned(0x9C, 0),
        element(0x22B59C, b"und"),
        element(0x86, CODEC_IDS[config.codec].encode()),
    ]
    if config.codec is Codec.OPUS:
        parts.append(element(0x63A2, _opus_head(config.codec_private)))
    elif config.codec_private:
        parts.append(element(0x63A2, config.codec_private))
    if video:
        parts.append(element(0xE0, _unsigned(0xB0, config.width), _unsigned(0xBA, config.height)))
    else:
        parts.append(_unsigned(0x56BB, _OPUS_SEEK_PRE_ROLL_NS))
        frequency = element(0xB5, struct.pack(">d", 48_000.0))
        parts.append(element(0xE1, frequency, _unsigned(0x9F, config.channels)))
    return element(0xAE, *parts)


def _opus_head(specific: bytes) -> bytes:
    """The `OpusHead` (RFC 7845 §5.1) that says what `dOps` says: other byte order, other version."""
    _, channels, pre_skip, rate, gain, family = struct.unpack(">BBHIhB", specific)
    return b"OpusHead" + struct.pack("<BBHIhB", 1, channels, pre_skip, rate, gain, family)


def _unsigned(identifier: int, value: int) -> bytes:
    return element(identifier, value.to_bytes(max(1, (value.bit_length() + 7) // 8)))


def _id_bytes(identifier: int) -> bytes:
    return identifier.to_bytes((identifier.bit_length() + 7) // 8)


def _size_bytes(size: int) -> bytes:
    """A variable-size integer (RFC 8794 §4): all ones is reserved for "unknown"."""
    length = 1
    while size >= (1 << (7 * length)) - 1:
        length += 1
    return ((1 << (7 * length)) | size).to_bytes(length)
