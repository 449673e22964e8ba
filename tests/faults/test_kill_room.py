"""kill -9 of a room's process at random instants: every recording opens, little is lost, and the next goes on in it."""

import asyncio
import json
import os
import random
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest

from agent.credentials import Credentials
from media.frames import Codec
from media.record.entries import GapReason, RecordingResumed, RecordingState
from media.record.journal import read_journal
from media.record.reader import TrackView, read_recording
from media.record.repair import repair_recording
from media.record.verify import verify_recording
from tests.faults.numbered import NumberedPublisher
from tests.faults.observer import Observer, observing
from tests.faults.recorded import behind_s, check_all_decodes, rtp_timestamps
from tests.integration.participants import room_name
from tests.integration.serving import ROOMHAND, WAIT_S, service_environment, serving

pytestmark = [pytest.mark.faults, pytest.mark.server, pytest.mark.timeout(900)]

SEED = int(os.environ.get("FAULTS_SEED", "20261127"))
MOST_LOST_S = 1.0
LIFE_S = 4.0
BATCHES = 5  # of ten kills: fifty in all
SERVED_KILLS = 2  # few at a time: the service waits ever longer before it starts a room again that keeps dying
JOINED_KILLS = 4
JOINED_RECORDERS = 2
START_WAIT_S = 240.0  # a process that starts beside others on a busy machine can take a minute


@dataclass
class Kill:
    """One kill: when, for how long each track (by SID) had been received, and what of it was lost, in seconds."""

    at: float
    received_s: dict[str, float] = field(default_factory=dict)
    lost_s: dict[str, float] = field(default_factory=dict)


@dataclass
class Victim:
    """A recording whose process is killed again and again, and the log that all its processes write."""

    path: Path
    log: Path
    kills: list[Kill] = field(default_factory=list)

    @property
    def life_began(self) -> float:
        """No process of now was there before this."""
        return self.kills[-1].at if self.kills else 0.0

    def receiving_since(self) -> dict[str, float]:
        """SIDs of the tracks that the process of now has begun to record, with the time."""
        found: dict[str, float] = {}
        for line in self.log.read_text().splitlines():
            event = json.loads(line) if line.startswith("{") else {}
            if event.get("event") != "recording_track" or event.get("recording") != self.path.name:
                continue
            at = datetime.fromisoformat(event["timestamp"]).timestamp()
            if at > self.life_began:
                found.setdefault(event["sid"], at)
        return found

    async def until_receiving(self, tracks: int) -> None:
        """Until the process of now records so many tracks."""
        async with asyncio.timeout(START_WAIT_S):
            while len(self.receiving_since()) < tracks:  # noqa: ASYNC110 - it happens in another process
                await asyncio.sleep(0.05)

    def account(self, at: float, observer: Observer, copies: Path) -> None:
        """After a kill at `at`: does a copy of the recording open and hold, and how much of each track is missing?"""
        kill = Kill(at)
        receiving = self.receiving_since()
        self.kills.append(kill)
        if not self.path.exists():
            return
        copy = copies / f"{self.path.name}-{len(self.kills)}"
        shutil.copytree(self.path, copy)
        assert read_recording(copy).state is RecordingState.INTERRUPTED
        repair_recording(copy)
        report = verify_recording(copy)
        assert report.problems == (), f"after kill {len(self.kills)}: {report.problems}"
        view = read_recording(copy)
        tracks = {track.descriptor.track_sid: track for track in view.tracks}
        for sid, since in receiving.items():
            clock_rate = 48_000 if observer.tracks[sid].kind == "audio" else 90_000
            last = observer.tracks[sid].last_before(at)
            stamps = rtp_timestamps(view, tracks[sid]) if sid in tracks else []
            lost_s = behind_s(stamps[-1], last, clock_rate) if stamps and last is not None else float("inf")
            kill.received_s[sid] = at - since
            # What came before this process received anything is the price of the kill before.
            kill.lost_s[sid] = max(0.0, min(lost_s, at - since))
        shutil.rmtree(copy)


@asynccontextmanager
async def joined(
    server: Credentials, room: str, name: str, victim: Victim
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`roomhand join --record` in that recording, ended in good order unless it was killed."""
    environment = {**service_environment(server, victim.path.parent.parent), "ROOMHAND_LOG_FORMAT": "json"}
    command = ("join", room, "--record", "--recording-id", victim.path.name, "--identity", name, "--json")
    with victim.log.open("ab") as sink:
        process = await asyncio.create_subprocess_exec(
            *ROOMHAND, *command, env=environment, stdout=asyncio.subprocess.DEVNULL, stderr=sink
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), WAIT_S)


def moments(source: random.Random, kills: int) -> list[tuple[bool, float]]:
    """For each kill whether it waits until the room is received, and the delay: one in five hits the start."""
    return [(source.random() > 0.2, source.uniform(0, LIFE_S)) for _ in range(kills)]


async def kill_joined(
    server: Credentials, room: str, victim: Victim, plan: list[tuple[bool, float]], observer: Observer, copies: Path
) -> None:
    name = f"hand-{victim.path.name}"
    for receiving, delay_s in plan:
        async with joined(server, room, name, victim) as process:
            if receiving:
                await victim.until_receiving(1)
            await asyncio.sleep(delay_s)
            at = time.time()
            process.kill()
            await process.wait()
            await asyncio.to_thread(victim.account, at, observer, copies)
    async with joined(server, room, name, victim) as process:
        await victim.until_receiving(len(observer.tracks))
        await asyncio.sleep(1)
        process.terminate()
        assert await asyncio.wait_for(process.wait(), WAIT_S) == 0


async def kill_served(
    server: Credentials, room: str, folder: Path, plan: list[tuple[bool, float]], observer: Observer, copies: Path
) -> Victim:
    async with serving(server, folder) as service:
        # The service closes idle connections after 5 s, and may do so just as the next request goes out.
        service.client.headers["Connection"] = "close"
        answer = await service.client.post("/v1/rooms", json={"room": room, "record": True})
        assert answer.status_code == 201, answer.text
        shown = await service.until(room, lambda item: bool(item["recording_id"] and item["process_id"]))
        victim = Victim(folder / "recordings" / shown["recording_id"], service.log)
        for number, (receiving, delay_s) in enumerate(plan):
            if receiving:
                await victim.until_receiving(1)
            await asyncio.sleep(delay_s)
            shown = await service.until(room, lambda item: bool(item["process_id"]))
            at = time.time()
            os.kill(shown["process_id"], 9)
            await asyncio.to_thread(victim.account, at, observer, copies)
            await service.until(room, lambda item, wanted=number + 1: item["restarts"] >= wanted)  # type: ignore[misc]
        await victim.until_receiving(len(observer.tracks))
        await asyncio.sleep(1)
        service.process.terminate()
        assert await asyncio.wait_for(service.process.wait(), WAIT_S) == 0
    return victim


def check_end(victim: Victim) -> None:
    """One recording, closed in good order, that went on after each kill and says so."""
    assert verify_recording(victim.path).problems == ()
    view = read_recording(victim.path)
    assert view.state is RecordingState.COMPLETE
    entries = [record.entry for record in read_journal(victim.path).records]
    resumed = sum(isinstance(entry, RecordingResumed) for entry in entries)
    received = sum(bool(kill.lost_s) for kill in victim.kills)
    assert received <= resumed <= len(victim.kills)
    for track in view.tracks:
        assert restarts(track) or not any(segment.recovered for segment in track.segments)
    check_all_decodes(view)


def restarts(track: TrackView) -> int:
    return sum(gap.reason is GapReason.RESTART for gap in track.gaps)


@pytest.mark.parametrize("batch", range(BATCHES))
async def test_kills_at_random_instants(livekit_server: Credentials, tmp_path: Path, batch: int) -> None:
    room, source, copies = room_name(), random.Random(SEED + batch), tmp_path / "copies"
    copies.mkdir()
    victims = [Victim(tmp_path / "recordings" / f"r{n}", tmp_path / f"r{n}.log") for n in range(JOINED_RECORDERS)]
    async with (
        NumberedPublisher(livekit_server, room, codec=Codec.VP8, identity="vp8"),
        NumberedPublisher(livekit_server, room, codec=Codec.H264, identity="h264"),
        observing(livekit_server, room) as observer,
    ):
        async with asyncio.timeout(START_WAIT_S):
            while len(observer.tracks) < 4:  # noqa: ASYNC110 - other people's callbacks
                await asyncio.sleep(0.05)
        # One after another: on two cores, processes that start beside each other stand still for seconds.
        for victim in victims:
            await kill_joined(livekit_server, room, victim, moments(source, JOINED_KILLS), observer, copies)
        (tmp_path / "served").mkdir()
        plan = moments(source, SERVED_KILLS)
        victims.append(await kill_served(livekit_server, room, tmp_path / "served", plan, observer, copies))
    report(SEED + batch, victims)
    for victim in victims:
        check_end(victim)
    kills = [kill for victim in victims for kill in victim.kills]
    assert BATCHES * len(kills) == 50
    assert any(kill.lost_s for kill in kills)
    assert max(lost for kill in kills for lost in kill.lost_s.values()) <= MOST_LOST_S


def report(seed: int, victims: list[Victim]) -> None:
    """The figures, for whoever runs this with -s or -rA."""
    for kill in [kill for victim in victims for kill in victim.kills]:
        pairs = (f"{kill.lost_s[sid]:.2f} of {kill.received_s[sid]:.2f} s" for sid in kill.lost_s)
        print(f"  lost {', '.join(pairs) or 'nothing: it was not receiving yet'}")
    lost = sorted(lost for victim in victims for kill in victim.kills for lost in kill.lost_s.values())
    hit = sum(bool(kill.lost_s) for victim in victims for kill in victim.kills)
    median, p95 = lost[len(lost) // 2], lost[int(len(lost) * 0.95)]
    print(
        f"seed {seed}: {sum(len(victim.kills) for victim in victims)} kills, {hit} while receiving, "
        f"{len(lost)} track losses: median {median:.3f} s, p95 {p95:.3f} s, worst {lost[-1]:.3f} s"
    )
