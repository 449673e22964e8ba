"""The quality loop of a room agent on a real server, over a link that gets narrow, loses and delays.

What is asserted is what comes of it, on a machine that may be busy: not which decisions lead there.
"""

from pathlib import Path
from statistics import fmean, median

import pytest

from tests.faults.adapting import (
    CAMERA,
    DELAY_MS,
    SPEAKER,
    WIDE_BPS,
    Scene,
    adapting,
    assert_told,
    busiest_minute,
    longest_stop_s,
    shows,
    taken_back,
)
from tests.integration.narrow_link import why_not
from tests.integration.watched_agent import Second

WITHOUT_LINK = why_not(delayed=True)
pytestmark = [
    pytest.mark.faults,
    pytest.mark.server,
    pytest.mark.timeout(400),
    pytest.mark.skipif(WITHOUT_LINK is not None, reason=f"a link with delay {WITHOUT_LINK}"),
]

NARROW_BPS = 1_200_000  # of 2.6 Mb/s in all
LOSS_PERCENT = 8
FAR_MS, JITTER_MS = 150.0, 30.0
LONGEST_STOP_S = 8.0  # a full queue of lost packets and the key frame after it took 1 to 4 s
RECOVERY_S = 90.0
SWITCHES_A_MINUTE = 6
VIDEOS = (SPEAKER, CAMERA)


def heights(seconds: list[Second], name: str) -> list[int]:
    return [track.height for second in seconds if (track := second.track(name)) is not None and track.fps > 0]


def asked(second: Second, name: str) -> str:
    """The layer that is asked for."""
    track = second.track(name)
    return track.requested if track is not None else ""


def scores(seconds: list[Second], name: str, kind: str = "video") -> float:
    return fmean(
        track.score for second in seconds if (track := second.track(name, kind)) is not None and track.score is not None
    )


def hearing(seconds: list[Second]) -> float:
    """What the sound is worth by the E-model, MOS."""
    return fmean(
        track.model_mos
        for second in seconds
        if (track := second.track(SPEAKER, "audio")) is not None and track.model_mos is not None
    )


def assert_calm(scene: Scene) -> None:
    """No video's layers were asked for more often than may be."""
    for name in VIDEOS:
        assert busiest_minute(scene.agent.decisions, name) <= SWITCHES_A_MINUTE, scene.decided


async def test_a_link_that_gets_narrow_has_smaller_pictures_that_come_and_the_large_ones_afterwards(
    server_binary: Path, tmp_path: Path
) -> None:
    async with adapting(server_binary, tmp_path) as scene:
        await scene.phase(10)
        narrow = await scene.phase(40, rate_bps=NARROW_BPS)
        for name in VIDEOS:
            assert longest_stop_s(narrow, name) <= LONGEST_STOP_S, name
        # The larger one is tried now and then.
        assert median(heights(narrow[-20:], SPEAKER)) < 720
        sound = [track for second in narrow[10:] if (track := second.track(SPEAKER, "audio"))]
        assert all(track.packets > 0 for track in sound)
        assert fmean(track.loss_ratio for track in sound) < 0.02
        await scene.phase(0, rate_bps=WIDE_BPS)
        await scene.agent.until(
            lambda it: (shows(it.seconds[-3:], {SPEAKER: 720}) and asked(it.seconds[-1], CAMERA) == "high") or None,
            timeout_s=RECOVERY_S,
        )
        assert_calm(scene)
        await assert_told(scene.agent)


async def test_on_a_link_that_stays_narrow_nothing_swings(server_binary: Path, tmp_path: Path) -> None:
    async with adapting(server_binary, tmp_path) as scene:
        await scene.phase(15, rate_bps=NARROW_BPS)
        settled = len(scene.agent.decisions)
        seconds = await scene.phase(75)
        for name in VIDEOS:
            assert longest_stop_s(seconds, name) <= LONGEST_STOP_S, name
            assert taken_back(scene.agent.decisions[settled:], name) <= 3, scene.decided
        assert_calm(scene)
        await assert_told(scene.agent)


async def test_loss_is_told_and_scored_and_pictures_keep_coming(server_binary: Path, tmp_path: Path) -> None:
    async with adapting(server_binary, tmp_path) as scene:
        whole = await scene.phase(10)
        lossy = await scene.phase(60, loss=LOSS_PERCENT)
        told = {
            item["track_sid"] for item in scene.agent.patterns if item["pattern"] == "steady_loss" and item["began"]
        }
        lines = [line for line in scene.agent.logged("quality_pattern_began") if line["pattern"] == "steady_loss"]
        assert told
        assert {line["sid"] for line in lines} == told
        assert all(line["reason"] for line in lines)
        for name in VIDEOS:
            assert longest_stop_s(lossy, name) <= LONGEST_STOP_S, name
            assert scores(lossy[-20:], name) < scores(whole, name) - 15, name
        assert_calm(scene)
        await assert_told(scene.agent)


async def test_where_a_lower_layer_loses_as_much_the_higher_one_is_asked_for_again(
    server_binary: Path, tmp_path: Path
) -> None:
    async with adapting(server_binary, tmp_path) as scene:
        await scene.phase(60, loss=LOSS_PERCENT)
        last = scene.agent.seconds[-1]
        assert {asked(last, name) for name in VIDEOS} == {"high"}, scene.decided
        kinds = [item["decision"] for item in scene.agent.decisions]
        assert kinds.count("relieve") <= kinds.count("undo") + kinds.count("raise"), "what was tried was taken back"


async def test_delay_alone_lowers_no_layer_and_shows_in_what_is_judged(server_binary: Path, tmp_path: Path) -> None:
    async with adapting(server_binary, tmp_path) as scene:
        near = await scene.phase(20)
        if scene.agent.decisions:
            pytest.skip(f"this machine is too busy: without any delay {scene.agent.decisions[0]['reason']}")
        scene.link.delay(FAR_MS, jitter_ms=JITTER_MS)
        await scene.phase(15)
        far = await scene.phase(30)
        for name in VIDEOS:
            wanted = [asked(second, name) for second in far]
            # A busy machine skips frames, and the loop may try what that is about.
            assert wanted.count("high") >= 0.6 * len(wanted), scene.decided
            assert scores(far, name) > 80, name
        round_trips = [second.round_trip_s for second in far]
        assert min(round_trips) >= 2 * FAR_MS / 1000
        assert min(second.round_trip_s for second in near if second.round_trip_s) < 4 * DELAY_MS / 1000
        assert hearing(far) < hearing(near) - 0.1
        await assert_told(scene.agent)
