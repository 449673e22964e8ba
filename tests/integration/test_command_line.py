"""The command line as people use it: the main path, a crash, and everything that can be wrong."""

import asyncio
import hashlib
import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from agent.credentials import Credentials
from agent.tokens import ParticipantTokenRequest, mint_participant_token
from media.frames import Codec, MediaKind
from media.record.entries import GapReason
from media.record.reader import read_recording
from media.record.verify import verify_recording
from tests.integration.commands import CommandLine, expect, line_with
from tests.integration.publishing import Publisher
from tests.integration.serving import serving

pytestmark = pytest.mark.server

NO_SERVER = "ws://127.0.0.1:9"


async def test_join_record_verify_and_export(livekit_server: Credentials, tmp_path: Path) -> None:
    commands = CommandLine(livekit_server, tmp_path)
    async with Publisher(livekit_server, "cli-main", codec=Codec.H264):
        joined = await commands.run("join", "cli-main", "--record", "--for", "6", "--out", "recs", "--json")
    assert joined.code == 0, joined.err
    left = joined.document()
    assert left["event"] == "left"
    assert left["recording"]["state"] == "complete"
    recording_id = left["recording"]["recording_id"]
    listed = (await commands.run("recordings", "list", "--dir", "recs", "--json")).document()
    assert [item["recording_id"] for item in listed] == [recording_id]
    shown = await commands.run("recordings", "show", recording_id, "--dir", "recs")
    assert "h264" in shown.out
    assert "opus" in shown.out
    verified = await commands.run("recordings", "verify", recording_id, "--dir", "recs", "--json")
    assert verified.code == 0, verified.err
    assert verified.document()["problems"] == []
    exported = await commands.run(
        "export", f"recs/{recording_id}", "--format", "mp4", "--out", "out", "--wait", "--json"
    )
    assert exported.code == 0, exported.err
    status = exported.document()
    assert status["state"] == "complete"
    assert status["outputs"][0]["files"][0]["size_bytes"] > 10_000
    again = await commands.run("exports", "show", status["export_id"], "--json")
    assert again.document() == status


async def test_a_recording_cut_short_by_kill_goes_on_in_the_same_recording(
    livekit_server: Credentials, tmp_path: Path
) -> None:
    commands = CommandLine(livekit_server, tmp_path)
    options = ("join", "cli-kill", "--record", "--recording-id", "same", "--out", "recs", "--json")
    async with Publisher(livekit_server, "cli-kill", codec=Codec.VP8):
        first = await commands.start(*options)
        assert first.stdout is not None
        await asyncio.wait_for(first.stdout.readline(), 60)
        await asyncio.sleep(5)
        killed_at = time.time()
        first.send_signal(signal.SIGKILL)
        await first.communicate()
        second = await commands.run(*options, "--for", "4")
    assert second.code == 0, second.err
    view = read_recording(tmp_path / "recs" / "same")
    assert verify_recording(view.path).problems == ()
    for kind in MediaKind:
        (track,) = [item for item in view.tracks if item.descriptor.kind is kind]
        before = [item for item in track.segments if view.started_at + track.media_time_s(item.decode_time) < killed_at]
        kept_until = view.started_at + track.media_time_s(before[-1].end_decode_time)
        # At most the last part of a second is lost; the rest is how far packets and clocks were behind.
        assert killed_at - kept_until < 1.5
        assert len(before) < len(track.segments)


async def test_sigterm_closes_the_recording_within_five_seconds(livekit_server: Credentials, tmp_path: Path) -> None:
    commands = CommandLine(livekit_server, tmp_path)
    async with Publisher(livekit_server, "cli-term", codec=Codec.VP8):
        process = await commands.start(
            "join", "cli-term", "--publish", "pattern", "--record", "--recording-id", "r", "--out", "recs", "--json"
        )
        assert process.stdout is not None
        await asyncio.wait_for(process.stdout.readline(), 60)
        await asyncio.sleep(2)
        process.terminate()
        async with asyncio.timeout(5):
            await process.communicate()
    assert process.returncode == 0
    assert read_recording(tmp_path / "recs" / "r").state.value == "complete"


async def test_sigusr1_pauses_the_recording_and_has_it_go_on(livekit_server: Credentials, tmp_path: Path) -> None:
    commands = CommandLine(livekit_server, tmp_path)
    async with Publisher(livekit_server, "cli-pause", codec=Codec.VP8):
        process = await commands.start("join", "cli-pause", "--record", "--recording-id", "r", "--out", "recs")
        assert process.stderr is not None
        await line_with(process.stderr, "recording to")
        await asyncio.sleep(3)
        process.send_signal(signal.SIGUSR1)
        await line_with(process.stderr, "r: paused")
        await asyncio.sleep(2)
        process.send_signal(signal.SIGUSR1)
        await line_with(process.stderr, "r: recording")
        await asyncio.sleep(3)
        process.terminate()
        await process.communicate()
    assert process.returncode == 0
    view = read_recording(tmp_path / "recs" / "r")
    assert verify_recording(view.path).problems == ()
    for track in view.tracks:
        assert [gap.reason for gap in track.gaps] == [GapReason.PAUSED]
        assert 1.5 < track.gaps[0].duration / track.timescale < 8


async def test_a_recording_is_controlled_over_a_service(livekit_server: Credentials, tmp_path: Path) -> None:
    commands = CommandLine(livekit_server, tmp_path)
    async with serving(livekit_server, tmp_path) as service, Publisher(livekit_server, "cli-rec", codec=Codec.VP8):
        here = ("--url", str(service.client.base_url))
        expect(await commands.run("recording", "start", "cli-rec", *here), "room_not_found", "cli-rec")
        assert (await service.client.post("/v1/rooms", json={"room": "cli-rec"})).status_code == 201
        await service.until("cli-rec", lambda room: bool(room["state"]))
        expect(await commands.run("recording", "pause", "cli-rec", *here), "recording_conflict", "start a recording")
        started = await commands.run("recording", "start", "cli-rec", "--id", "r", *here)
        assert started.code == 0, started.err
        assert started.out.startswith("r: recording, ")
        expect(await commands.run("recording", "start", "cli-rec", "--id", "q", *here), "recording_conflict", "r")
        await asyncio.sleep(3)
        paused = await commands.run("recording", "pause", "cli-rec", *here)
        assert paused.out.startswith("r: paused, "), paused.err
        resumed = await commands.run("recording", "resume", "cli-rec", "--json", *here)
        assert resumed.document()["state"] == "recording"
        expect(
            await commands.run("recording", "change", "cli-rec", "--track", "a", "--rules", "none.json", *here),
            "invalid_settings",
            "give one",
        )
        changed = await commands.run("recording", "change", "cli-rec", "--track", "micro*", *here)
        assert changed.code == 0, changed.err
        await asyncio.sleep(2)
        stopped = await commands.run("recording", "stop", "cli-rec", "--json", *here)
        assert stopped.document()["state"] == "complete"
    view = read_recording(tmp_path / "recordings" / "r")
    assert verify_recording(view.path).problems == ()
    assert {track.descriptor.kind for track in view.tracks} == set(MediaKind)


async def test_control_where_no_service_is(livekit_server: Credentials, tmp_path: Path) -> None:
    commands = CommandLine(livekit_server, tmp_path)
    expect(await commands.run("recording", "stop", "x", "--url", "http://127.0.0.1:9"), "server_unreachable", "serve")
    expect(await commands.run("recording", "stop", "x", "--url", "nonsense"), "server_unreachable", "--url")


async def test_a_wrong_key(livekit_server: Credentials, tmp_path: Path) -> None:
    wrong = Credentials(livekit_server.url, livekit_server.api_key, "w" * 40)
    expect(await CommandLine(wrong, tmp_path).run("join", "x", "--for", "1"), "unauthorized", "API")


async def test_an_unreachable_server(tmp_path: Path) -> None:
    nowhere = Credentials(NO_SERVER, "key", "s" * 40)
    expect(await CommandLine(nowhere, tmp_path).run("join", "x", "--for", "1"), "server_unreachable", "127.0.0.1:9")


async def test_tokens_that_do_not_do(livekit_server: Credentials, tmp_path: Path) -> None:
    commands = CommandLine(livekit_server, tmp_path)
    expired = mint_participant_token(livekit_server, ParticipantTokenRequest("x", "a", ttl_s=-3600))
    expect(await commands.run("join", "x", "--token", expired, "--for", "1"), "token_expired", "make a new one")
    service = (await commands.run("token", "--grant", "roomList")).out.strip()
    expect(await commands.run("join", "x", "--token", service, "--for", "1"), "permission_denied", "roomJoin")
    expect(await commands.run("token", "--grant", "everything"), "invalid_settings", "roomAdmin")


async def test_a_clip_that_cannot_be_read(livekit_server: Credentials, tmp_path: Path) -> None:
    commands = CommandLine(livekit_server, tmp_path)
    expect(
        await commands.run("join", "x", "--publish", "missing.mp4", "--for", "1"), "source_unreadable", "missing.mp4"
    )
    (tmp_path / "text.mp4").write_text("this is no film")
    expect(await commands.run("join", "x", "--publish", "text.mp4", "--for", "1"), "source_unreadable", "text.mp4")


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs a /sys that nobody can write to")
async def test_a_folder_that_cannot_be_written_to(livekit_server: Credentials, tmp_path: Path) -> None:
    commands = CommandLine(livekit_server, tmp_path)
    refused = await commands.run("join", "x", "--record", "--out", "/sys/kernel/recordings", "--for", "1")
    expect(refused, "disk_read_only", "/sys/kernel/recordings")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
async def test_a_full_disk_keeps_what_is_there_and_is_told(livekit_server: Credentials, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = await asyncio.create_subprocess_exec("mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(small))
    if await mounted.wait() != 0:
        pytest.skip("this machine does not let root mount")
    try:
        commands = CommandLine(livekit_server, tmp_path)
        async with Publisher(livekit_server, "cli-full", codec=Codec.VP8, width=1280, height=720, noise=40):
            full = await commands.run(
                "join", "cli-full", "--record", "--out", "small", "--recording-id", "r", "--for", "10"
            )
        expect(full, "disk_full", "frames were lost", "is safe")
        view = read_recording(small / "r")
        assert sum(track.samples for track in view.tracks) > 0
        for track in view.tracks:
            for segment in track.segments:
                assert hashlib.sha256(view.file_of(segment).read_bytes()).hexdigest() == segment.sha256
    finally:
        unmounted = await asyncio.create_subprocess_exec("umount", str(small))
        await unmounted.wait()


async def test_what_is_not_there(livekit_server: Credentials, tmp_path: Path) -> None:
    commands = CommandLine(livekit_server, tmp_path)
    expect(await commands.run("recordings", "show", "nothing"), "recording_not_found", "nothing")
    expect(await commands.run("export", "nothing"), "recording_not_found", "nothing")
    expect(await commands.run("exports", "show", "EX_nothing"), "export_not_found", "EX_nothing")
    unknown = await commands.run("join", "x", "--nonsense")
    assert unknown.code == 2
    assert "--nonsense" in unknown.err


async def test_settings_that_are_wrong(livekit_server: Credentials, tmp_path: Path) -> None:
    wrong = CommandLine(livekit_server, tmp_path, ROOMHAND_PORT="many")
    expect(await wrong.run("recordings", "list"), "invalid_settings", "port")
    expect(await CommandLine(None, tmp_path).run("join", "x"), "invalid_settings", "LIVEKIT_URL")
    as_json = await CommandLine(None, tmp_path).run("join", "x", "--json")
    assert json.loads(as_json.err.strip().splitlines()[-1])["error"]["code"] == "invalid_settings"


async def test_a_port_in_use(livekit_server: Credentials, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        expect(await CommandLine(livekit_server, tmp_path).run("serve", "--port", port), "port_in_use", port)
