"""What we publish over a way out that becomes narrow, with and without adapting: what a subscriber gets of it."""

import asyncio
import time
from collections import Counter as Tally
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.service.local_server import LocalServer
from media.frames import EncodedFrame, MediaKind
from media.sources.source import VideoFormat
from media.tap.tap import Tap
from tests.integration.narrow_link import NarrowLink, why_not
from tests.integration.publishing import eventually
from tests.integration.tap_behind_link import Counter
from tests.integration.test_bandwidth_feedback import tap_in
from tests.integration.watched_sender import Sender, watched_sender
from tests.media.sources.clips import write_encoded

pytestmark = [pytest.mark.server, pytest.mark.faults]

WITHOUT_LINK = why_not()
SOURCE = "pattern:1280x720@30"
WHOLE_FPS = 22  # of 30, and the machine has other work
NARROW_BPS = 1_000_000
LOWEST_ONLY_BPS = 300_000
WATCHED_S = 20
MOST_SIZES = 2  # of 720 lines: 540 and 360


class Watched(Counter):
    """A track that is published anew may go before it is subscribed to."""

    def __init__(self) -> None:
        super().__init__()
        self.by_sid = Tally[str]()
        self._names: dict[str, str] = {}

    def on_tap_frames(self, track_sid: str, frames: tuple[EncodedFrame, ...]) -> None:
        super().on_tap_frames(track_sid, frames)
        self.by_sid[track_sid] += len(frames)

    def of_name(self, name: str) -> int:
        """Frames of all tracks of that name that were published and are."""
        self._names.update((track.sid, track.name) for item in self.participants.values() for track in item.tracks)
        return sum(count for sid, count in self.by_sid.items() if self._names.get(sid) == name)

    def on_tap_refused(self, track_sid: str, reason: str) -> None:
        assert "notfound" in reason, f"the server refuses {track_sid}: {reason}"


async def subscribe(tap: Tap, counter: Counter) -> None:
    """Subscribe to all that is published, until cancelled."""
    asked = set[str]()
    while True:
        for sid in {t.sid for p in counter.participants.values() for t in p.tracks} - asked:
            asked.add(sid)
            await tap.subscribe(sid)
        await asyncio.sleep(0.1)


@asynccontextmanager
async def sent(
    server_binary: Path, folder: Path, *more: str, source: str = SOURCE
) -> AsyncIterator[tuple[NarrowLink, Sender, Watched]]:
    """A publisher behind a link, and what a tap beside the server gets of its video."""
    counter, room = Watched(), "sent"
    with NarrowLink() as link:
        server = LocalServer(server_binary, log_file=folder / "server.log", address=link.address)
        async with server as running:
            tap = tap_in(running.credentials, room, counter, feedback=True)
            await tap.start()
            async with watched_sender(link.inside, running.credentials, room, *more, source=source) as sender:
                subscribing = asyncio.create_task(subscribe(tap, counter), name="subscribing")
                yield link, sender, counter
                subscribing.cancel()
            await tap.aclose()


async def watch(counter: Counter) -> tuple[float, int]:
    """Frames a second over `WATCHED_S`, and the picture's lines at its end."""
    before = counter.frames[MediaKind.VIDEO]
    await asyncio.sleep(WATCHED_S)
    return (counter.frames[MediaKind.VIDEO] - before) / WATCHED_S, counter.height


async def watch_settled(sender: Sender, counter: Counter) -> tuple[float, int]:
    """The same over the first such time in which nothing is decided: one size may be tried after another."""
    for _ in range(MOST_SIZES + 1):
        decided = len(sender.decisions)
        seen = await watch(counter)
        if len(sender.decisions) == decided:
            return seen
    raise AssertionError(f"it does not settle: {sender.decisions}")


@pytest.mark.skipif(WITHOUT_LINK is not None, reason=f"a narrow link {WITHOUT_LINK}")
async def test_over_a_narrow_way_out_a_smaller_picture_goes_at_its_whole_rate_and_it_grows_again(
    server_binary: Path, tmp_path: Path
) -> None:
    async with sent(server_binary, tmp_path) as (link, sender, counter):
        await eventually(lambda: counter.height == 720 or None, timeout_s=60)
        link.limit_uplink(NARROW_BPS)
        await eventually(lambda: sender.lines() in {540, 360} or None, timeout_s=60)
        await eventually(lambda: counter.height in {540, 360} or None, timeout_s=40)
        fps, lines = await watch_settled(sender, counter)
        print(f"at {NARROW_BPS / 1e6:g} Mb/s: {fps:.1f} frames a second of {lines} lines; {sender.decisions}")
        assert lines in {540, 360}
        assert fps >= WHOLE_FPS
        link.limit_uplink(None)
        await eventually(lambda: sender.lines() is None or None, timeout_s=120)
        await eventually(lambda: counter.height == 720 or None, timeout_s=60)
        assert len(sender.decisions) <= 6
        assert all(item["limit"] == "bandwidth" and item["reason"] for item in sender.decisions)


@pytest.mark.skipif(WITHOUT_LINK is not None, reason=f"a narrow link {WITHOUT_LINK}")
async def test_where_the_lowest_layer_alone_fits_one_layer_has_all_of_the_way_and_the_layers_come_back(
    server_binary: Path, tmp_path: Path
) -> None:
    async with sent(server_binary, tmp_path) as (link, sender, counter):
        await eventually(lambda: counter.height == 720 or None, timeout_s=60)
        link.limit_uplink(LOWEST_ONLY_BPS)
        await eventually(lambda: counter.height == 180 or None, timeout_s=20)
        await eventually(lambda: sender.decisions or None, timeout_s=60)
        assert (sender.decisions[0]["move"], sender.decisions[0]["simulcast"]) == ("simulcast", False)
        await eventually(lambda: layers(counter) == [False] or None, timeout_s=30)
        fps, lines = await watch_settled(sender, counter)
        print(f"at {LOWEST_ONLY_BPS / 1e6:g} Mb/s: {fps:.1f} frames a second of {lines} lines; {sender.decisions}")
        assert fps >= WHOLE_FPS, "the lowest layer has 15"
        assert lines >= 180
        link.limit_uplink(None)
        await eventually(lambda: layers(counter) == [True] or None, timeout_s=120)
        await eventually(lambda: counter.height == 720 or None, timeout_s=120)
        assert len(sender.decisions) <= 5


BESIDE_BPS = 800_000
BESIDE_S = 45  # the camera gives way within 20 s, and its new track comes up


async def screen_frames(server_binary: Path, folder: Path, *more: str) -> float:
    """Frames a second of a screen beside a camera, of `BESIDE_BPS`."""
    async with sent(server_binary, folder, "--screen=pattern:1920x1080@15", *more) as (link, sender, counter):
        await eventually(lambda: counter.of_name("screen-share") > 60 or None, timeout_s=60)
        await asyncio.sleep(15)
        link.limit_uplink(BESIDE_BPS)
        await asyncio.sleep(BESIDE_S)
        before = {name: counter.of_name(name) for name in ("camera", "screen-share")}
        await asyncio.sleep(WATCHED_S)
        fps = {name: (counter.of_name(name) - frames) / WATCHED_S for name, frames in before.items()}
        print(f"at {BESIDE_BPS / 1e6:g} Mb/s {more}: {fps} frames a second; {sender.decisions}")
        if not more:
            first = sender.decisions[0]
            assert (first["name"], first["move"], first["simulcast"]) == ("camera", "bitrate", False)
            assert str(first["reason"]).startswith("screen-share comes first: ")
            assert fps["camera"] > 5, "it gives way, and does not go"
            link.limit_uplink(None)
            await eventually(lambda: all(layers(counter)) or None, timeout_s=150)
        return fps["screen-share"]


@pytest.mark.timeout(500)
@pytest.mark.skipif(WITHOUT_LINK is not None, reason=f"a narrow link {WITHOUT_LINK}")
async def test_a_camera_gives_way_to_a_screen_that_starves_and_comes_back(server_binary: Path, tmp_path: Path) -> None:
    without = await screen_frames(server_binary, tmp_path, "--no-adaptive")
    assert await screen_frames(server_binary, tmp_path) > 2 * without


def layers(counter: Counter) -> list[bool]:
    """Of each track that is published, whether it has simulcast layers."""
    return [track.simulcasted for item in counter.participants.values() for track in item.tracks]


@pytest.mark.skipif(WITHOUT_LINK is not None, reason=f"a narrow link {WITHOUT_LINK}")
async def test_without_adapting_nothing_is_decided(server_binary: Path, tmp_path: Path) -> None:
    async with sent(server_binary, tmp_path, "--no-adaptive") as (link, sender, counter):
        await eventually(lambda: counter.height == 720 or None, timeout_s=60)
        link.limit_uplink(NARROW_BPS)
        await asyncio.sleep(15)
        fps, lines = await watch(counter)
        print(f"as it is at {NARROW_BPS / 1e6:g} Mb/s: {fps:.1f} frames a second of {lines} lines")
        assert sender.decisions == []
        assert fps < WHOLE_FPS, "the way is narrow indeed"


@pytest.mark.skipif(WITHOUT_LINK is not None, reason=f"a narrow link {WITHOUT_LINK}")
async def test_of_a_file_that_is_encoded_already_key_frames_go_over_a_narrow_way_and_all_again_after(
    server_binary: Path, tmp_path: Path
) -> None:
    clip = write_encoded(
        tmp_path / "clip.mp4",
        video=VideoFormat(1280, 720, 25.0),
        seconds=20.0,
        bitrate_bps=1_500_000,
        key_frame_every=50,
    )
    async with sent(server_binary, tmp_path, "--pre-encoded", source=str(clip)) as (link, sender, counter):
        await asyncio.sleep(12)
        fps, _ = await watch(counter)
        assert fps >= 23
        assert "key_frames_only" not in sender.pre_encoded
        link.limit_uplink(700_000)
        await eventually(lambda: sender.pre_encoded.get("key_frames_only"), timeout_s=40)
        link.limit_uplink(None)
        again = sender.pre_encoded.get("all_again", 0)
        await eventually(lambda: sender.pre_encoded.get("all_again", 0) > again or None, timeout_s=60)
        await eventually(whole_rate(counter), timeout_s=120)
        print(f"without a limit {fps:.1f} frames a second; then {sender.pre_encoded}")


def whole_rate(counter: Counter) -> Callable[[], bool | None]:
    """Whether 23 of 25 frames a second came for four seconds."""
    seen: deque[tuple[float, int]] = deque()

    def check() -> bool | None:
        now = time.monotonic()
        seen.append((now, counter.frames[MediaKind.VIDEO]))
        while now - seen[0][0] > 4:
            seen.popleft()
        return (now - seen[0][0] > 3.8 and (seen[-1][1] - seen[0][1]) / (now - seen[0][0]) >= 23) or None

    return check
