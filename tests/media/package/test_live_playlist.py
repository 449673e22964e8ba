"""Live playlists as text, read back by other people's parser, and what a held request waits for."""

from dataclasses import replace

import m3u8  # type: ignore[import-untyped]  # ships no types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.package.live_playlist import LivePart, LivePlaylist, LiveSegment, PartHint, PlaylistOptions

OPTIONS = PlaylistOptions(target_duration_s=8, part_target_s=0.5, started_at=1_700_000_000.0, window_s=18.0)


def segment(number: int, *, parts: int = 12, **changes: object) -> LiveSegment:
    """Segment `number` (from 1) of six seconds, or with fewer parts as one that is being written."""
    values: dict[str, object] = {
        "uri": f"{number:06d}.m4s",
        "map_uri": "init-1.mp4",
        "start_s": 6.0 * (number - 1),
        "duration_s": 0.5 * parts,
        "size_bytes": 1000 * parts,
        "parts": tuple(LivePart(0.5, 1000 * index, 1000, independent=index == 0) for index in range(parts)),
        "complete": parts == 12,
    }
    return LiveSegment(**{**values, **changes})  # type: ignore[arg-type]


GOING_ON = LivePlaylist((*(segment(number) for number in range(1, 6)), segment(6, parts=3)))


def test_a_playlist_that_goes_on_has_parts_up_to_the_newest() -> None:
    text = GOING_ON.render(OPTIONS)
    parsed = m3u8.loads(text)
    assert (parsed.version, parsed.target_duration, parsed.is_endlist) == (9, 8, False)
    assert parsed.server_control.can_block_reload == "YES"
    assert (parsed.server_control.part_hold_back, parsed.part_inf.part_target) == (1.5, 0.5)
    assert parsed.media_sequence == 2
    whole = [item for item in parsed.segments if item.uri]
    assert [item.uri for item in whole] == ["000003.m4s", "000004.m4s", "000005.m4s"]
    assert [item.duration for item in whole] == [6.0, 6.0, 6.0]
    assert whole[0].program_date_time.timestamp() == 1_700_000_012.0
    *_, newest = parsed.segments
    assert [(part.uri, part.byterange.strip('"'), part.independent) for part in newest.parts] == [
        ("000006.m4s", "1000@0", "YES"),
        ("000006.m4s", "1000@1000", None),
        ("000006.m4s", "1000@2000", None),
    ]
    assert text.index("2023-11-14T22:13:50.000Z") < text.index('BYTERANGE="1000@0"', text.index("000005.m4s\n"))


def test_one_that_ended_is_a_plain_playlist() -> None:
    text = LivePlaylist(GOING_ON.segments[:5], ended=True).render(OPTIONS)
    assert text.endswith("000005.m4s\n#EXT-X-ENDLIST\n")
    assert "PART" not in text
    assert "SERVER-CONTROL" not in text


def test_from_the_start_it_is_an_event() -> None:
    text = GOING_ON.render(PlaylistOptions(8, 0.5, 0.0, window_s=None, query="?from_start=true"))
    parsed = m3u8.loads(text)
    assert (parsed.playlist_type, parsed.media_sequence, len(parsed.segments)) == ("event", 0, 6)
    assert parsed.segments[0].uri == "000001.m4s?from_start=true"
    assert parsed.segments[0].init_section.uri == "init-1.mp4?from_start=true"
    # Parts only where a player may still want them: three target durations back.
    assert [bool(item.parts) for item in parsed.segments] == [False, True, True, True, True, True]


def test_a_new_init_segment_needs_no_discontinuity_and_a_new_writer_does() -> None:
    segments = (
        segment(1),
        segment(2, map_uri="init-2.mp4"),
        segment(3, map_uri="init-2.mp4", discontinuities=1, discontinuity_sequence=1),
        segment(4, map_uri="init-2.mp4", discontinuity_sequence=1),
    )
    parsed = m3u8.loads(LivePlaylist(segments).render(OPTIONS))
    assert parsed.discontinuity_sequence == 0
    assert [item.discontinuity for item in parsed.segments] == [False, True, False]
    text = LivePlaylist(segments).render(PlaylistOptions(8, 0.5, 0.0, window_s=None))
    assert text.count("#EXT-X-MAP") == 2
    # A tag that has left the playlist is counted, one that is first in it is not.
    first_after = m3u8.loads(LivePlaylist(segments).render(PlaylistOptions(8, 0.5, 0.0, window_s=12.0)))
    assert (first_after.discontinuity_sequence, first_after.segments[0].discontinuity) == (0, True)
    behind = m3u8.loads(LivePlaylist(segments).render(PlaylistOptions(8, 0.5, 0.0, window_s=6.0)))
    assert behind.discontinuity_sequence == 1


def test_gaps_are_told_as_gaps() -> None:
    gap = LiveSegment("gap.m4s", "", 6.0, 4.0, gap=True)
    opened = segment(2, parts=1, start_s=10.0)
    muted = segment(2, parts=1, start_s=10.0)
    parsed = m3u8.loads(LivePlaylist((segment(1), gap, opened)).render(OPTIONS))
    assert [item.gap_tag for item in parsed.segments[:2]] == [None, True]
    parts = (*muted.parts, LivePart(0.4, gap=True), LivePart(0.5, 1000, 500))
    text = LivePlaylist((replace(muted, parts=parts),)).render(OPTIONS)
    assert [line.rpartition(",")[2] for line in text.splitlines() if line.startswith("#EXT-X-PART:")] == [
        "INDEPENDENT=YES",
        "GAP=YES",
        'BYTERANGE="500@1000"',
    ]


def test_the_next_part_is_hinted_at_while_there_will_be_one() -> None:
    """hls.js needs a tag behind a whole segment, else it takes that one for the segment that is being written."""
    going_on = replace(GOING_ON, segments=GOING_ON.segments[:5], hint=PartHint("000006.m4s", 0))
    text = going_on.render(replace(OPTIONS, query="?a=b"))
    assert text.endswith('#EXT-X-PRELOAD-HINT:TYPE=PART,URI="000006.m4s?a=b",BYTERANGE-START=0\n')
    assert "PRELOAD" not in replace(going_on, ended=True).render(OPTIONS)


def test_what_a_held_request_waits_for() -> None:
    assert GOING_ON.contains(4, None)
    assert not GOING_ON.contains(5, None)
    assert GOING_ON.contains(5, 2)
    assert not GOING_ON.contains(5, 3)
    assert GOING_ON.contains(4, 99)
    assert not GOING_ON.contains(6, 0)
    assert not GOING_ON.is_ahead(8)
    assert GOING_ON.is_ahead(9)
    between = LivePlaylist(GOING_ON.segments[:5])
    assert not between.contains(5, 0)


@given(st.lists(st.floats(0.01, 70), min_size=1, max_size=10), st.floats(0.0, 100))
def test_every_duration_fits_the_target_and_the_window_is_full(durations_s: list[float], window_s: float) -> None:
    segments = tuple(segment(number, duration_s=item) for number, item in enumerate(durations_s, 1))
    text = LivePlaylist(segments).render(PlaylistOptions(8, 0.5, 0.0, window_s=window_s))
    parsed = m3u8.loads(text)
    listed = [item.duration for item in parsed.segments if item.uri]
    assert all(int(item + 0.5) <= parsed.target_duration for item in listed)
    assert sum(listed) >= min(window_s, sum(durations_s)) - 1e-3
    assert parsed.media_sequence == len(durations_s) - len(listed)


@pytest.mark.parametrize("uri", ['a"b.m4s', "a\nb.m4s"])
def test_no_name_breaks_out_of_its_line(uri: str) -> None:
    with pytest.raises(ValueError, match="cannot be written"):
        LivePlaylist((segment(1, uri=uri, parts=2),)).render(OPTIONS)
