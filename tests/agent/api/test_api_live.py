"""Live playlists and segments over HTTP: held requests, ranges, tokens, and what cannot be played."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import m3u8  # type: ignore[import-untyped]  # ships no types
import pytest

from agent.service.http_server import HttpServer, address_of, bind
from agent.tokens import ServiceGrants, mint_service_token
from media.frames import Codec
from media.record.journal import JOURNAL_NAME
from media.record.recorder import Recording
from media.record.recording_writer import RecordingConfig
from media.record.segmenter import SegmenterConfig
from tests.agent.api.fake_service import ALL_GRANTS, CREDENTIALS, FakeService, bearer
from tests.media.export.recordings import (
    STARTED_AT,
    Track,
    camera_and_microphone,
    encode_audio,
    encode_video,
    write_recording,
)
from tests.media.record.encoded_media import descriptor

LIVE = "/v1/recordings/one/live"


@pytest.fixture
def one(api: FakeService) -> Path:
    """Three seconds of camera and microphone, complete."""
    return write_recording(api.folder / "recordings" / "one", camera_and_microphone(Codec.H264))


@contextlib.contextmanager
def going_on(api: FakeService) -> Iterator[Recording]:
    """A recording in progress, without tracks."""
    config = RecordingConfig(SegmenterConfig(segment_duration_s=2.0, part_duration_s=0.5))
    recording = Recording.create(api.folder / "recordings", "one", "lobby", started_at=STARTED_AT, config=config)
    try:
        yield recording
    finally:
        recording.close(STARTED_AT + 60)


async def listed(client: httpx.AsyncClient, url: str) -> None:
    """Until the recording's writer has journaled the track, a moment after it was opened."""
    async with asyncio.timeout(10):
        while (await client.get(url)).status_code == 404:  # noqa: ASYNC110 - asked over HTTP
            await asyncio.sleep(0.02)


async def test_a_player_finds_its_way_from_the_document_to_the_media(api: FakeService, one: Path) -> None:
    async with api.client(bearer()) as client:
        shown = (await client.get(LIVE)).json()
        assert (shown["state"], shown["recording_id"]) == ("complete", "one")
        assert [(item["kind"], item["playable"], item["ended"]) for item in shown["tracks"]] == [
            ("audio", True, True),
            ("video", True, True),
        ]
        (program,) = shown["programs"]
        assert (program["participant_identity"], program["source"], program["problem"]) == ("alice", "camera", "")
        assert (program["ended"], program["ends_at_s"]) == (True, pytest.approx(3.0, abs=0.1))
        answer = await client.get(program["url"])
        assert answer.headers["content-type"] == "application/vnd.apple.mpegurl"
        assert answer.headers["cache-control"] == "private, no-store"
        opened = m3u8.loads(answer.text)
        for uri in (opened.playlists[0].uri, opened.media[0].uri):
            playlist = m3u8.loads((await client.get(f"{LIVE}/{uri}")).text)
            assert playlist.is_endlist
            folder = uri.partition("/")[0]
            for segment in playlist.segments:
                init = await client.get(f"{LIVE}/{folder}/{segment.init_section.uri}")
                media = await client.get(f"{LIVE}/{folder}/{segment.uri}")
                assert (init.content[4:8], media.content[4:8]) == (b"ftyp", b"styp")
                assert (init.headers["content-type"], media.headers["content-type"]) == (
                    "video/mp4",
                    "video/iso.segment",
                )
                assert "immutable" in media.headers["cache-control"]


async def test_what_is_over_is_played_with_what_was_muted_at_its_end(api: FakeService) -> None:
    muted = [Track("microphone", encode_audio(0.0, 7.0)), Track("camera", encode_video(Codec.H264, 0.2, 2.8))]
    write_recording(api.folder / "recordings" / "one", muted)
    async with api.client(bearer()) as client:
        (program,) = (await client.get(LIVE)).json()["programs"]
        assert None not in {program["video_track"], program["audio_track"]}
        opened = m3u8.loads((await client.get(program["url"])).text)
        assert (opened.playlists[0].stream_info.codecs.count(","), len(opened.media)) == (1, 1)


async def test_segments_come_by_ranges_and_head(api: FakeService, one: Path) -> None:
    async with api.client(bearer()) as client:
        for name in ("000001.m4s", "init-1.mp4"):
            whole = await client.get(f"{LIVE}/2/{name}")
            size = len(whole.content)
            head = await client.head(f"{LIVE}/2/{name}")
            assert (head.status_code, head.headers["content-length"], head.content) == (200, str(size), b"")
            part = await client.get(f"{LIVE}/2/{name}", headers={"Range": "bytes=10-19"})
            assert (part.status_code, part.content) == (206, whole.content[10:20])
            assert part.headers["content-range"] == f"bytes 10-19/{size}"
            rest = await client.get(f"{LIVE}/2/{name}", headers={"Range": f"bytes={size - 5}-{size + 5}"})
            assert (rest.status_code, rest.content) == (206, whole.content[-5:])
            past = await client.get(f"{LIVE}/2/{name}", headers={"Range": f"bytes={size}-"})
            assert (past.status_code, past.headers["content-range"]) == (416, f"bytes */{size}")
            odd = await client.get(f"{LIVE}/2/{name}", headers={"Range": "bytes=9-2"})
            assert (odd.status_code, len(odd.content)) == (200, size)


async def test_a_held_request_is_answered_with_the_next_part(api: FakeService) -> None:
    frames = encode_video(Codec.H264, 0.0, 3.0)
    with going_on(api) as recording:
        track = recording.open_track(descriptor(Codec.H264), STARTED_AT)
        async with api.client(bearer()) as client:

            async def write(end_s: float) -> None:
                for frame in frames:
                    if last_s[0] <= frame.arrival_time < end_s:
                        track.write(replace(frame, arrival_time=STARTED_AT + frame.arrival_time))
                last_s[0] = end_s

            last_s = [0.0]
            await write(1.2)
            url = f"{LIVE}/1/playlist.m3u8"
            await listed(client, url)
            first = await client.get(url, params={"_HLS_msn": "0", "_HLS_part": "1"})
            assert len(m3u8.loads(first.text).segments[-1].parts) == 2
            held = asyncio.create_task(client.get(url, params={"_HLS_msn": "0", "_HLS_part": "2"}))
            await asyncio.sleep(0.3)
            assert not held.done()
            await write(1.7)
            playlist = m3u8.loads((await held).text)
            (segment,) = playlist.segments
            assert len(segment.parts) == 3
            size, _, start = segment.parts[-1].byterange.strip('"').partition("@")
            media = await client.get(
                f"{LIVE}/1/{segment.parts[-1].uri}", headers={"Range": f"bytes={start}-{int(start) + int(size) - 1}"}
            )
            assert (media.status_code, len(media.content), media.content[4:8]) == (206, int(size), b"moof")
            whole = asyncio.create_task(client.get(url, params={"_HLS_msn": "0"}))
            hint = playlist.preload_hint
            assert (hint.hint_type, hint.uri, hint.byterange_start) == ("PART", "000001.m4s", int(start) + int(size))
            hinted_range = {"Range": f"bytes={hint.byterange_start}-"}
            hinted = asyncio.create_task(client.get(f"{LIVE}/1/{hint.uri}", headers=hinted_range))
            await asyncio.sleep(0.2)
            assert not whole.done()
            assert not hinted.done()
            await write(2.2)
            assert (await hinted).status_code == 206
            assert (await hinted).content[4:8] == b"moof"
            behind = m3u8.loads((await whole).text)
            assert behind.segments[0].uri == "000001.m4s"
            assert (behind.preload_hint.uri, behind.preload_hint.byterange_start) == ("000002.m4s", 0)


async def test_a_held_request_ends_with_the_track_the_service_or_its_patience(
    api: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = encode_video(Codec.H264, 0.0, 1.2)
    async with api.client(bearer()) as client:
        with going_on(api) as recording:
            track = recording.open_track(descriptor(Codec.H264), STARTED_AT)
            for frame in frames:
                track.write(replace(frame, arrival_time=STARTED_AT + frame.arrival_time))
            url = f"{LIVE}/1/playlist.m3u8"
            await listed(client, url)
            await client.get(url, params={"_HLS_msn": "0", "_HLS_part": "0"})
            with monkeypatch.context() as patched:
                patched.setattr("agent.api.live.HELD_TARGETS", 0.02)
                stalled = await client.get(url, params={"_HLS_msn": "0", "_HLS_part": "9"})
                opened = m3u8.loads((await client.get(url)).text).preload_hint
                behind = {"Range": f"bytes={opened.byterange_start}-"}
                never = await client.get(f"{LIVE}/1/{opened.uri}", headers=behind)
            assert never.status_code == 416
            assert (stalled.status_code, stalled.json()["error"]["code"]) == (503, "live_stalled")
            lost = await client.get(url, params={"_HLS_msn": "9"})
            assert lost.status_code == 400
            half = await client.get(url, params={"_HLS_part": "1"})
            assert half.status_code == 400
            api.rooms.draining = True
            assert (await client.get(url, params={"_HLS_msn": "1"})).status_code == 200
            api.rooms.draining = False
        over = await client.get(url, params={"_HLS_msn": "2"})
        assert m3u8.loads(over.text).is_endlist


async def test_what_a_killed_writer_left_ends_from_the_start_on_unless_it_is_gone_on_with(api: FakeService) -> None:
    frames = encode_video(Codec.H264, 0.0, 3.2)
    path, killed = api.folder / "recordings" / "one", api.folder / "recordings" / "killed"
    url, whole = "/v1/recordings/killed/live/1/playlist.m3u8", {"from_start": "true"}
    later = {**whole, "_HLS_msn": "2"}
    async with api.client(bearer()) as client:
        with going_on(api) as recording:
            track = recording.open_track(descriptor(Codec.H264), STARTED_AT)
            for frame in frames:
                track.write(replace(frame, arrival_time=STARTED_AT + frame.arrival_time))
            await listed(client, f"{LIVE}/1/playlist.m3u8")
            await client.get(f"{LIVE}/1/playlist.m3u8", params={"_HLS_msn": "1", "_HLS_part": "1"})
            shutil.copytree(path, killed)
        just_now = m3u8.loads((await client.get(url, params=whole)).text)
        assert not just_now.is_endlist
        os.utime(killed / JOURNAL_NAME, (STARTED_AT, STARTED_AT))
        async with asyncio.timeout(5):
            ended = m3u8.loads((await client.get(url, params=later)).text)
        assert (ended.is_endlist, [item.uri for item in ended.segments]) == (True, ["000001.m4s", "000002.m4s"])
        assert ended.segments[-1].duration >= 0.9
        media = await client.get(url.replace("playlist.m3u8", "000002.m4s"))
        assert (media.status_code, media.content[4:8], "no-store" in media.headers["cache-control"]) == (
            200,
            b"styp",
            True,
        )
        assert not m3u8.loads((await client.get(url)).text).is_endlist
        resumed = Recording.resume(killed, STARTED_AT + 9.0)
        os.utime(killed / JOURNAL_NAME, (STARTED_AT, STARTED_AT))
        assert not m3u8.loads((await client.get(url, params=whole)).text).is_endlist
        resumed.close(STARTED_AT + 9.5)


async def test_held_requests_are_answered_as_the_server_closes(
    api: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    """uvicorn cancels what lasts longer than its grace, and logs a traceback of each request."""
    frames = encode_video(Codec.H264, 0.0, 1.2)
    with going_on(api) as recording:
        track = recording.open_track(descriptor(Codec.H264), STARTED_AT)
        for frame in frames:
            track.write(replace(frame, arrival_time=STARTED_AT + frame.arrival_time))
        listening = bind("127.0.0.1", 0)
        http = HttpServer(api.app, listening)
        await http.start()
        async with httpx.AsyncClient(
            base_url=address_of(listening), headers=bearer(), timeout=30.0, trust_env=False
        ) as client:
            url = f"{LIVE}/1/playlist.m3u8"
            await listed(client, url)
            first = await client.get(url, params={"_HLS_msn": "0", "_HLS_part": "1"})
            hint = m3u8.loads(first.text).preload_hint
            held = asyncio.create_task(client.get(url, params={"_HLS_msn": "0", "_HLS_part": "9"}))
            behind = {"Range": f"bytes={hint.byterange_start}-"}
            hinted = asyncio.create_task(client.get(f"{LIVE}/1/{hint.uri}", headers=behind))
            await asyncio.sleep(0.3)
            assert not held.done()
            assert not hinted.done()
            await http.aclose()
            assert ((await held).status_code, (await hinted).status_code) == (200, 416)
    assert not [record for record in caplog.records if record.name.startswith("uvicorn")]


async def test_a_token_in_the_query_goes_on_into_every_address(api: FakeService, one: Path) -> None:
    token = mint_service_token(CREDENTIALS, ServiceGrants(room_record=True))
    async with api.client() as client:
        opened = await client.get(f"{LIVE}/multivariant.m3u8", params={"access_token": token, "from_start": "true"})
        uri = m3u8.loads(opened.text).playlists[0].uri
        assert uri.endswith("from_start=true")
        listed = await client.get(f"{LIVE}/{uri}")
        playlist = m3u8.loads(listed.text)
        assert playlist.playlist_type == "event"
        segment = playlist.segments[0]
        for name in (segment.uri, segment.init_section.uri):
            assert (await client.get(f"{LIVE}/2/{name}")).status_code == 200
        assert (await client.get(f"{LIVE}/2/{segment.uri.partition('?')[0]}")).status_code == 401


async def test_a_token_for_another_room_sees_nothing(api: FakeService, one: Path) -> None:
    async with api.client(bearer(replace(ALL_GRANTS, room="other"))) as client:
        for path in ("", "/multivariant.m3u8", "/2/playlist.m3u8", "/2/000001.m4s", "/2/init-1.mp4"):
            answer = await client.get(f"{LIVE}{path}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "recording_not_found")


async def test_what_cannot_be_played_is_said(api: FakeService) -> None:
    write_recording(api.folder / "recordings" / "vp8", camera_and_microphone(Codec.VP8, 2.0))
    with going_on(api):
        async with api.client(bearer()) as client:
            unfit = await client.get("/v1/recordings/vp8/live/multivariant.m3u8")
            assert (unfit.status_code, unfit.json()["error"]["code"]) == (415, "live_unsupported")
            assert "publish H.264 or AV1" in unfit.json()["error"]["message"]
            sound = await client.get("/v1/recordings/vp8/live/multivariant.m3u8", params={"audio_only": "true"})
            assert m3u8.loads(sound.text).playlists[0].stream_info.codecs == "opus"
            early = await client.get(f"{LIVE}/multivariant.m3u8")
            assert (early.status_code, early.json()["error"]["code"]) == (409, "live_not_ready")
            for path in ("/v1/recordings/none/live", f"{LIVE}/7/playlist.m3u8", f"{LIVE}/7/000001.m4s"):
                missing = await client.get(path)
                assert (missing.status_code, missing.json()["error"]["code"]) == (404, "recording_not_found")
            for name in ("..%2F..%2Fjournal.jsonl", "journal.jsonl", "000001.m4s.part"):
                assert (await client.get(f"{LIVE}/1/{name}")).status_code in {404, 422}
