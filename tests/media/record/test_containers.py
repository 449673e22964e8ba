"""fMP4 and WebM bytes: structure, what FFmpeg makes of them, and finding the last whole part of a torn file."""

import io

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.frames import Codec
from media.record import fmp4, fmp4_scan, webm
from media.record.codec_config import RECORDABLE, codec_config
from media.record.muxer import Muxer, muxer_for
from media.record.sample import CodecConfig, Sample
from tests.media.record.encoded_media import decoded_sizes, opus, packet_payloads, packet_times, video

CODECS = list(Codec)
OPUS_CONFIG = CodecConfig(Codec.OPUS, "opus", channels=2, codec_private=b"\0\2\0\0\0\0\xbb\x80\0\0\0")


def media(codec: Codec) -> tuple[CodecConfig, Muxer, list[Sample]]:
    frames = opus(packets=60) if codec is Codec.OPUS else video(codec, frames=60)
    first, step = frames[0].rtp_timestamp, frames[1].rtp_timestamp - frames[0].rtp_timestamp
    samples = [Sample(f.data, f.rtp_timestamp - first, step, f.sync_sample) for f in frames]
    return codec_config(frames[0], None), muxer_for(codec, RECORDABLE[codec]), samples


def boxes(data: bytes) -> list[bytes]:
    return [item.kind for item in fmp4_scan.walk(data, 0, len(data))]


@pytest.mark.parametrize("codec", CODECS)
def test_every_cut_of_a_segment_ends_with_its_last_whole_part(codec: Codec) -> None:
    _, muxer, samples = media(codec)
    parts = [muxer.media_part(1, number, samples[at : at + 20]) for number, at in enumerate((0, 20, 40))]
    head = muxer.segment_head(b"what repair needs")
    data = head + b"".join(parts)
    ends = [len(head), *(len(head) + sum(map(len, parts[: n + 1])) for n in range(3))]
    for cut in range(0, len(data), 211):
        scan = muxer.scan(data[:cut])
        whole = max((n for n, end in enumerate(ends) if end <= cut), default=0)
        assert scan.parts == whole
        assert len(scan.samples) == 20 * whole
        assert scan.complete_bytes == (ends[whole] if whole or cut >= ends[0] else scan.complete_bytes)
    scan = muxer.scan(data)
    assert scan.note == b"what repair needs"
    assert scan.complete_bytes == len(data)
    assert scan.sync_samples == sum(sample.sync_sample for sample in samples)
    assert [s.size_bytes for s in scan.samples] == [len(sample.data) for sample in samples]
    step = muxer.min_step
    assert all(abs(s.decode_time - t.decode_time) < step for s, t in zip(scan.samples, samples, strict=True))
    # What a power cut leaves of blocks that never reached the disk.
    torn = muxer.scan(data[: ends[2]] + bytes(len(parts[2])))
    assert (torn.parts, torn.complete_bytes) == (2, ends[2])


@pytest.mark.parametrize("codec", CODECS)
@settings(max_examples=50, deadline=None)
@given(at=st.integers(0, 5000), value=st.binary(min_size=1, max_size=8))
def test_a_scan_of_noise_never_raises(codec: Codec, at: int, value: bytes) -> None:
    _, muxer, samples = media(codec)
    data = muxer.media_part(1, 0, samples[:20])
    at %= len(data)
    assert muxer.scan(data[:at] + value + data[at + len(value) :]).complete_bytes <= len(data) + len(value)


def test_init_and_parts_are_laid_out_as_cmaf_wants() -> None:
    config, _, samples = media(Codec.H264)
    init = fmp4.init_segment(config, 90_000, b"note")
    assert boxes(init) == [b"ftyp", b"moov", b"free"]
    moov = next(item for item in fmp4_scan.walk(init, 0, len(init)) if item.kind == b"moov")
    assert [item.kind for item in fmp4_scan.walk(init, moov.start, moov.end)] == [b"mvhd", b"trak", b"mvex"]
    segment = fmp4.segment_head(b"") + fmp4.media_part(Codec.H264, 7, samples[:2])
    assert boxes(segment) == [b"styp", b"moof", b"mdat"]
    assert b"avc3" in init
    assert config.codec_private in init


@pytest.mark.parametrize(
    ("codec", "entry", "configuration"),
    [
        (Codec.H264, b"avc3", b"avcC"),
        (Codec.H265, b"hev1", b"hvcC"),
        (Codec.VP9, b"vp09", b"vpcC"),
        (Codec.AV1, b"av01", b"av1C"),
    ],
)
def test_each_codec_has_its_sample_entry(codec: Codec, entry: bytes, configuration: bytes) -> None:
    config, muxer, samples = media(codec)
    init = muxer.init_segment(config, b"")
    assert init.count(entry + bytes(6) + b"\0\1") == 1
    assert fmp4.box(configuration, config.codec_private) in init
    data = init + muxer.media_part(1, 0, samples)
    assert packet_payloads(data) == [sample.data for sample in samples]
    assert packet_times(data, 90_000) == [sample.decode_time for sample in samples]
    assert decoded_sizes(data) == [(160, 90)] * len(samples)


def test_decode_times_of_years_fit() -> None:
    far = 90_000 * 3600 * 24 * 365 * 3
    config, muxer, samples = media(Codec.H264)
    moved = [Sample(s.data, s.decode_time + far, s.duration, s.sync_sample) for s in samples]
    data = muxer.init_segment(config, b"") + muxer.media_part(1, 0, moved)
    assert packet_times(data, 90_000) == [sample.decode_time for sample in moved]


def test_opus_starts_at_its_first_sample() -> None:
    config, muxer, samples = media(Codec.OPUS)
    data = muxer.init_segment(config, b"") + muxer.media_part(1, 0, samples)
    with av.open(io.BytesIO(data), "r") as container:
        frames = list(container.decode(audio=0))
        assert container.streams.audio[0].codec_context.sample_rate == 48_000
    assert frames[0].pts == 0
    assert sum(frame.samples for frame in frames) == 60 * 960


def test_a_hole_between_parts_is_where_tfdt_says() -> None:
    _, muxer, samples = media(Codec.OPUS)
    later = [Sample(s.data, s.decode_time + 480_000, s.duration, s.sync_sample) for s in samples[10:]]
    data = muxer.init_segment(OPUS_CONFIG, b"") + muxer.media_part(1, 0, samples[:10]) + muxer.media_part(1, 1, later)
    times = packet_times(data, 48_000)
    assert times[9:11] == [9 * 960, 10 * 960 + 480_000]


def test_a_cluster_never_spans_more_than_its_offsets_can_say() -> None:
    data = b"\x10\x00\x00\x9d\x01\x2a\x10\x00\x10\x00"
    samples = [Sample(data, index * 90_000 * 20, 90_000 * 20, index == 0) for index in range(4)]
    part = webm.media_part(samples, 90_000)
    config = CodecConfig(Codec.VP8, "vp8", 16, 16)
    assert packet_times(webm.init_segment(config) + part, 90_000) == [sample.decode_time for sample in samples]
    assert muxer_for(Codec.VP8, RECORDABLE[Codec.VP8]).scan(part).parts == 2


@given(st.integers(0, 10**12), st.sampled_from([48_000, 90_000]))
def test_milliseconds_round_halves_up(decode_time: int, timescale: int) -> None:
    exact = decode_time * 1000 / timescale
    rounded = webm.milliseconds(decode_time, timescale)
    assert rounded - 0.5 <= exact + 1e-4
    assert exact - 1e-4 < rounded + 0.5


@pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 16382, 16383, 16384, 2097150, 2097151])
def test_ebml_sizes_avoid_the_unknown_size(size: int) -> None:
    data = webm.element(0xEC, bytes(size))
    assert len(data) - 1 - size == next(n for n in range(1, 9) if size < (1 << 7 * n) - 1)


def test_a_webm_can_carry_the_other_codecs() -> None:
    config = OPUS_CONFIG
    samples = [Sample(f.data, index * 960, 960, True) for index, f in enumerate(opus(packets=20))]
    data = webm.init_segment(config) + webm.media_part(samples, 48_000)
    assert b"OpusHead\x01\x02\x00\x00\x80\xbb\x00\x00\x00\x00\x00" in data
    assert packet_payloads(data) == [sample.data for sample in samples]
    assert b"V_AV1" in webm.init_segment(CodecConfig(Codec.AV1, "av01.0.04M.08", 320, 180, codec_private=b"\x81\0\0\0"))
