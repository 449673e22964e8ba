"""The layers that a recording asks its tap for: policy and people at once, and what the way carries by trials."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest
from structlog.testing import capture_logs

from agent.room.events import LayerChanged
from agent.room.quality_monitor import JudgedTrack, QualityTick, TrackLabel
from agent.room.recorded_layers import RecordedLayers
from agent.room.recording_plan import LayerPolicy
from media.e2ee.frame_decryptor import DecryptionOutcome
from media.frames import MediaKind
from media.tap.events import LayerQuality, RemoteParticipant, RemoteTrack, VideoLayer
from media.tap.tap import Tap
from quality.controller import TROUBLE_S
from quality.judge import Judgement
from quality.stats import VideoQuality
from quality.window import Window
from tests.quality.controller_room import EPOCH, HIGH, LAYERS, LOW, MEDIUM, window

NAMES = ("ada", "bob")


class Asked:
    """A tap of two simulcast cameras, as far as layers go; every ask is granted."""

    def __init__(self) -> None:
        self.qualities = dict.fromkeys((f"TR_{name}" for name in NAMES), LayerQuality.HIGH)
        layers = tuple(VideoLayer(LayerQuality(item.quality), item.width, item.height, 0) for item in LAYERS)
        self.wanted_bps = 0.0
        self.locked: tuple[str, ...] = ()
        self.order: list[str] = []
        self.found = {
            f"TR_{name}": (
                RemoteParticipant(f"PA_{name}", name, name, "", {}, active=True),
                RemoteTrack(
                    f"TR_{name}",
                    "camera",
                    MediaKind.VIDEO,
                    "camera",
                    "video/VP8",
                    muted=False,
                    simulcasted=True,
                    encrypted=False,
                    layers=layers,
                ),
            )
            for name in NAMES
        }

    def find_track(self, sid: str) -> tuple[RemoteParticipant, RemoteTrack] | None:
        return self.found.get(sid)

    def quality(self, sid: str) -> LayerQuality | None:
        return self.qualities.get(sid)

    def max_fps(self, _sid: str) -> None:
        return None

    def undecryptable(self) -> dict[str, DecryptionOutcome]:
        return dict.fromkeys(self.locked, DecryptionOutcome.MISSING_KEY)

    def want_video_bandwidth(self, bps: float) -> None:
        self.wanted_bps = bps

    async def set_quality(self, sid: str, quality: LayerQuality) -> None:
        self.qualities[sid] = quality
        self.order.append(f"{sid} {quality.name}")


class Recorded:
    """A recording of both, second by second."""

    def __init__(self, policy: LayerPolicy | None = None) -> None:
        self.tap = Asked()
        self.told: list[LayerChanged] = []
        self.layers = RecordedLayers(cast("Tap", self.tap), policy or LayerPolicy(), self.told.append)
        self.now = EPOCH
        for name in NAMES:
            self.layers.allow(f"TR_{name}", HIGH)

    async def pass_seconds(self, seconds: int, seen: Callable[[str, VideoQuality], Window]) -> None:
        await self.layers.apply(self.now)
        for _ in range(seconds):
            self.now += 1.0
            windows = [seen(sid, VideoQuality(asked)) for sid, asked in self.tap.qualities.items()]
            if self.layers.on_tick(tick(windows, self.now)):
                await self.layers.apply(self.now)

    @property
    def asked(self) -> list[int]:
        return [quality.value for quality in self.tap.qualities.values()]


def tick(windows: list[Window], at: float) -> QualityTick:
    judged = (
        JudgedTrack(
            TrackLabel(item.track_sid, "camera", "video", "camera", item.track_sid[3:], "video/VP8"),
            cast("Judgement", SimpleNamespace(window=item)),
        )
        for item in windows
    )
    return QualityTick("tap", at, tuple(judged), ())


def whole(sid: str, asked: VideoQuality) -> Window:
    return window(sid, asked)


def broken(sid: str, asked: VideoQuality) -> Window:
    """Nothing of the highest layer can be put together."""
    return window(sid, asked, fps=0.0, loss=0.5) if asked is HIGH else window(sid, asked)


async def test_what_the_way_does_not_carry_is_asked_for_no_more_and_told_with_its_reason() -> None:
    room = Recorded()
    await room.pass_seconds(TROUBLE_S - 1, broken)
    assert room.asked == [HIGH, HIGH]
    await room.pass_seconds(3, broken)
    assert HIGH not in room.asked
    assert {(event.connection, event.kind, event.from_quality) for event in room.told} == {("tap", "relieve", HIGH)}
    assert all("no complete frame" in event.reason for event in room.told)
    assert [event.track.participant_identity for event in room.told] == list(NAMES)
    await room.pass_seconds(120, whole)
    assert room.asked == [HIGH, HIGH]
    assert room.told[-1].kind == "raise"


async def test_a_video_without_its_key_is_asked_for_no_less() -> None:
    room = Recorded()
    room.tap.locked = tuple(room.tap.qualities)
    await room.pass_seconds(2 * TROUBLE_S, broken)
    assert room.asked == [HIGH, HIGH]
    assert room.told == []


async def test_the_way_is_to_be_probed_as_far_as_all_that_the_policy_leaves_whatever_is_held_down() -> None:
    room = Recorded()
    await room.pass_seconds(3, whole)
    everything = room.tap.wanted_bps
    assert everything == pytest.approx(2 * window("TR_ada", HIGH).bitrate_bps)
    await room.pass_seconds(TROUBLE_S + 1, broken)
    assert HIGH not in room.asked
    assert room.tap.wanted_bps == everything
    room.layers.pin("TR_ada", LOW)
    await room.pass_seconds(1, whole)
    assert 0.5 * everything < room.tap.wanted_bps < everything
    room.layers.policy = LayerPolicy(quality=LOW)
    await room.pass_seconds(2, whole)
    assert room.tap.wanted_bps < 0.5 * everything


async def test_a_pinned_video_is_probed_for_as_its_publisher_declares_it_and_a_muted_one_not_at_all() -> None:
    room = Recorded()
    declared = tuple(VideoLayer(LayerQuality(item.quality), item.width, item.height, 1_700_000) for item in LAYERS)
    for sid, (participant, track) in room.tap.found.items():
        room.tap.found[sid] = participant, replace(track, layers=declared)

    def thin(sid: str, asked: VideoQuality) -> Window:
        return window(sid, asked, fps=2.0)

    def muted(sid: str, asked: VideoQuality) -> Window:
        return replace(thin(sid, asked), muted=sid == "TR_bob")

    room.layers.pin("TR_ada", HIGH)
    await room.pass_seconds(5, thin)
    assert room.tap.wanted_bps >= 2 * 1_700_000
    await room.pass_seconds(1, muted)
    assert room.tap.wanted_bps == 1_700_000
    participant, track = room.tap.found["TR_ada"]
    room.tap.found["TR_ada"] = participant, replace(track, muted=True)
    await room.pass_seconds(1, muted)
    assert room.tap.wanted_bps == 0.0


@pytest.mark.parametrize(("focus", "first"), [("ada", 0), ("bob", 1)])
async def test_who_is_in_the_policys_focus_comes_back_first(focus: str, first: int) -> None:
    room = Recorded(LayerPolicy(focus=(focus,)))
    await room.pass_seconds(TROUBLE_S, broken)
    while room.told[-1].kind != "raise":
        await room.pass_seconds(1, whole)
    assert room.told[-1].track.participant_identity == NAMES[first]


async def test_the_policy_counts_at_once_and_is_not_told_as_a_trial() -> None:
    room = Recorded()
    await room.pass_seconds(3, whole)
    room.layers.policy = LayerPolicy(quality=MEDIUM)
    await room.pass_seconds(3, whole)
    assert room.asked == [MEDIUM, MEDIUM]
    room.layers.policy = LayerPolicy(quality=HIGH)
    await room.pass_seconds(1, whole)
    assert room.asked == [HIGH, HIGH]
    assert room.told == []


async def test_what_a_person_chose_stays_whatever_comes_of_it() -> None:
    room = Recorded()
    room.layers.pin("TR_ada", HIGH)
    await room.pass_seconds(60, broken)
    assert room.asked[0] == HIGH > room.asked[1]
    assert "ada" not in {event.track.participant_identity for event in room.told}
    room.layers.pin("TR_ada", LOW)
    await room.pass_seconds(1, whole)
    assert room.asked[0] == LOW


async def test_what_a_person_chose_holds_for_the_track_as_it_is_published_again() -> None:
    room = Recorded()
    room.layers.pin("TR_ada", LOW)
    await room.pass_seconds(1, whole)
    participant, track = room.tap.found.pop("TR_ada")
    room.tap.found["TR_again"] = (participant, replace(track, sid="TR_again"))
    del room.tap.qualities["TR_ada"]
    room.tap.qualities["TR_again"] = LayerQuality.HIGH
    room.layers.forget("TR_ada")
    room.layers.allow("TR_again", HIGH)
    await room.pass_seconds(1, whole)
    assert room.tap.qualities == {"TR_again": LayerQuality.LOW, "TR_bob": LayerQuality.HIGH}
    assert room.layers.pinned("TR_again") is LOW
    room.layers.pin("TR_again", None)
    await room.pass_seconds(1, whole)
    assert room.tap.qualities["TR_again"] is LayerQuality.HIGH


async def probed() -> Recorded:
    """A recording of which the server withholds something, in the second in which it is all lowered."""
    room = Recorded()

    def withheld(sid: str, asked: VideoQuality) -> Window:
        return window(sid, asked, distance=1, available_bps=4e6)

    while LOW.value not in room.asked and len(room.told) < 2:
        await room.pass_seconds(1, withheld)
    assert {event.kind for event in room.told} == {"probe"}
    return room


async def test_a_probe_that_somebodys_choice_ends_is_taken_back_and_told() -> None:
    room = await probed()
    lowered = {event.track.sid for event in room.told}
    room.layers.pin("TR_bob", HIGH)
    await room.pass_seconds(1, whole)
    assert room.asked == [HIGH, HIGH]
    back = {event.track.sid for event in room.told if event.to_quality is HIGH}
    assert back == lowered - {"TR_bob"}, "what a person chose is no decision"


async def test_less_is_asked_for_before_more_and_the_least_last() -> None:
    room = Recorded()
    await room.pass_seconds(1, whole)
    room.layers.pin("TR_ada", LOW)
    await room.pass_seconds(1, whole)
    room.tap.order.clear()
    room.layers.pin("TR_ada", HIGH)
    room.layers.pin("TR_bob", MEDIUM)
    await room.pass_seconds(1, whole)
    assert room.tap.order == ["TR_bob MEDIUM", "TR_ada HIGH"]
    room.layers.pin("TR_ada", MEDIUM)
    room.layers.pin("TR_bob", LOW)
    await room.pass_seconds(1, whole)
    assert room.tap.order[2:] == ["TR_ada MEDIUM", "TR_bob LOW"]


async def test_a_track_that_goes_while_others_are_asked_for_is_passed_over() -> None:
    room = Recorded()
    await room.pass_seconds(1, whole)
    for sid in ("TR_ada", "TR_bob"):
        room.layers.pin(sid, LOW)
    ask = room.tap.set_quality

    async def goes(sid: str, quality: LayerQuality) -> None:
        await ask(sid, quality)
        del room.tap.qualities["TR_bob"]

    room.tap.set_quality = goes  # type: ignore[method-assign]  # the room goes on while it is asked
    await room.layers.apply(room.now)
    assert room.tap.order == ["TR_ada LOW"]


async def test_each_change_of_what_is_asked_for_is_one_line_that_says_why() -> None:
    room = Recorded()

    async def reasons(change: Callable[[], object], seen: Callable[[str, VideoQuality], Window] = whole) -> list[str]:
        with capture_logs() as logs:
            change()
            before = room.asked
            await room.pass_seconds(2, seen)
        lines = [line for line in logs if line["event"] == "layer_decision"]
        assert len(lines) == sum(old != new for old, new in zip(before, room.asked, strict=True))
        assert all(line["from_quality"] != line["to_quality"] and line["kind"] for line in lines)
        assert {line["track"] for line in lines} <= {"camera"}
        return [f"{line['participant_identity']}: {line['reason']}" for line in lines]

    def policy(quality: VideoQuality) -> Callable[[], None]:
        return lambda: setattr(room.layers, "policy", LayerPolicy(quality=quality))

    assert await reasons(lambda: None) == []
    assert await reasons(lambda: room.layers.pin("TR_ada", LOW)) == ["ada: asked for by a person"]
    assert await reasons(lambda: room.layers.pin("TR_ada", None)) == ["ada: no longer asked for by a person"]
    assert await reasons(policy(MEDIUM)) == [f"{name}: the recording's layer policy" for name in NAMES]
    assert await reasons(policy(HIGH)) == [f"{name}: the recording's layer policy" for name in NAMES]
    assert await reasons(lambda: room.layers.lower("TR_bob", MEDIUM)) == ["bob: restarts did not help"]
    await room.pass_seconds(TROUBLE_S - 2, broken)
    (relieved,) = await reasons(lambda: None, broken)
    assert "no complete frame" in relieved


async def test_a_probe_that_a_limit_ends_is_taken_back_with_a_line() -> None:
    room = await probed()
    lowered = [name for name, asked in zip(NAMES, room.asked, strict=True) if asked != HIGH]
    with capture_logs() as logs:
        room.layers.pin("TR_bob", HIGH)
        await room.pass_seconds(1, whole)
    told = {line["participant_identity"]: line["reason"] for line in logs if line["event"] == "layer_decision"}
    assert set(told) == set(lowered)
    assert told["ada"] == "what was tried is taken back, as limits changed"


async def test_a_track_that_goes_and_comes_back_begins_anew() -> None:
    room = Recorded()
    await room.pass_seconds(TROUBLE_S, broken)
    assert HIGH not in room.asked
    for name in NAMES:
        room.layers.forget(f"TR_{name}")
    await room.pass_seconds(1, whole)
    for name in NAMES:
        room.layers.allow(f"TR_{name}", HIGH)
        room.tap.qualities[f"TR_{name}"] = LayerQuality.HIGH
    await room.pass_seconds(2, whole)
    assert room.asked == [HIGH, HIGH]
