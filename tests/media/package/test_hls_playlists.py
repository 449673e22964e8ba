"""Playlists as text, read back by other people's parser."""

import m3u8  # type: ignore[import-untyped]  # ships no types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.package.hls import (
    AudioRendition,
    MediaPlaylist,
    MediaSegment,
    MultivariantPlaylist,
    Variant,
    peak_bandwidth_bps,
)

SEGMENTS = (
    MediaSegment("video-000001.m4s", 4.000011, "video-init-0.mp4", program_date_time=1_700_000_000.25),
    MediaSegment("video-000002.m4s", 4.6, "video-init-0.mp4"),
    MediaSegment("video-000003.m4s", 1.0, "video-init-1.mp4", discontinuity=True, program_date_time=1_700_000_008.85),
)


def test_a_media_playlist_says_all_about_its_segments() -> None:
    parsed = m3u8.loads(MediaPlaylist(SEGMENTS).render())
    assert parsed.version == 7
    assert parsed.playlist_type == "vod"
    assert parsed.is_endlist
    assert parsed.is_independent_segments
    assert [segment.uri for segment in parsed.segments] == [segment.uri for segment in SEGMENTS]
    assert [segment.duration for segment in parsed.segments] == [4.000011, 4.6, 1.0]
    assert [segment.init_section.uri for segment in parsed.segments] == [segment.map_uri for segment in SEGMENTS]
    assert [segment.discontinuity for segment in parsed.segments] == [False, False, True]
    assert parsed.segments[0].program_date_time.isoformat() == "2023-11-14T22:13:20.250000+00:00"


def test_a_map_is_written_only_where_it_changes() -> None:
    assert MediaPlaylist(SEGMENTS).render().count("#EXT-X-MAP") == 2


@given(st.lists(st.floats(0.001, 100), min_size=1, max_size=20))
@settings(max_examples=50)
def test_no_rounded_duration_exceeds_the_target(durations_s: list[float]) -> None:
    playlist = MediaPlaylist(tuple(MediaSegment("s", duration_s, "i") for duration_s in durations_s))
    assert all(int(duration_s + 0.5) <= playlist.target_duration for duration_s in durations_s)


def test_a_multivariant_playlist_names_codecs_size_rate_and_audio() -> None:
    text = MultivariantPlaylist(
        (Variant("video.m3u8", 900_000, 700_000, ("avc1.42C01F", "opus"), 1280, 720, 25.0, "audio"),),
        (AudioRendition("audio.m3u8", "Audio"),),
    ).render()
    parsed = m3u8.loads(text)
    assert parsed.is_variant
    (variant,) = parsed.playlists
    info = variant.stream_info
    assert (info.bandwidth, info.average_bandwidth) == (900_000, 700_000)
    assert (info.codecs, info.resolution, info.frame_rate, info.audio) == (
        "avc1.42C01F,opus",
        (1280, 720),
        25.0,
        "audio",
    )
    (media,) = parsed.media
    assert (media.type, media.group_id, media.uri, media.default) == ("AUDIO", "audio", "audio.m3u8", "YES")


def test_audio_alone_has_no_size_and_no_group() -> None:
    text = MultivariantPlaylist((Variant("audio.m3u8", 60_000, 50_000, ("opus",)),)).render()
    assert "RESOLUTION" not in text
    assert "AUDIO=" not in text


def test_a_quote_cannot_break_out_of_an_attribute() -> None:
    with pytest.raises(ValueError, match="cannot be written"):
        MultivariantPlaylist((), (AudioRendition('a"b', "Audio"),)).render()


def test_peak_bandwidth_looks_at_runs_of_half_a_target_and_more() -> None:
    assert peak_bandwidth_bps([1000, 9000, 1000], [4.0, 4.0, 4.0], 4.0) == 18_000
    # A sliver of a segment counts with what follows it.
    assert peak_bandwidth_bps([1000, 4000], [0.1, 3.9], 4.0) == 10_000
