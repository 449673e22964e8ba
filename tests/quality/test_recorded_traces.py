"""Patterns on statistics of real runs, whose truth is what was done to the network (`tests.bench.quality_trace`)."""

from collections.abc import Iterable
from pathlib import Path

from quality import judge
from quality.judge import Judgement
from quality.patterns import Pattern
from quality.score import ConnectionQuality
from quality.stats import InboundRtp, TrackKind
from tests.quality.recorded_traces import FOLDER, encode, read_trace

MIME_TYPES = {TrackKind.VIDEO: "video/vp8", TrackKind.AUDIO: "audio/red"}


def judged(path: Path) -> dict[TrackKind, list[Judgement]]:
    """Each second's judgement of each track."""
    states: dict[str, judge.JudgeState] = {}
    found: dict[TrackKind, list[Judgement]] = {kind: [] for kind in TrackKind}
    for snapshots in read_trace(path):
        for snapshot in snapshots:
            state = states.get(snapshot.track_sid)
            if state is None:
                coding = judge.coding_of(MIME_TYPES[snapshot.kind], repaired=True)
                states[snapshot.track_sid] = judge.start(snapshot, coding)
                continue
            states[snapshot.track_sid], judgement = judge.step(state, snapshot, snapshot.timestamp)
            found[snapshot.kind].append(judgement)
    return found


def told(judgements: Iterable[Judgement]) -> list[tuple[Pattern, bool]]:
    """What began (True) and ended, in order."""
    return [(change.pattern, change.began) for judgement in judgements for change in judgement.changes]


def worst(judgements: Iterable[Judgement], *, as_server: bool = False) -> ConnectionQuality:
    scores = [judgement.as_server if as_server else judgement.score for judgement in judgements]
    return min(scores, key=lambda score: score.value).quality


def test_traces_are_kept_small_and_come_back_as_they_were() -> None:
    paths = sorted(FOLDER.glob("*.jsonl"))
    assert [path.stem for path in paths] == ["blocked", "calm", "lossy"]
    for path in paths:
        assert path.stat().st_size < 80_000
        text = path.read_text()
        assert "".join(encode(snapshots) for snapshots in read_trace(path)) == text
        first = next(read_trace(path))
        assert {snapshot.kind for snapshot in first} == set(TrackKind)
        assert all(isinstance(snapshot.stats, InboundRtp) for snapshot in first)


def test_a_calm_run_has_no_pattern() -> None:
    for judgements in judged(FOLDER / "calm.jsonl").values():
        assert told(judgements) == []
        assert worst(judgements) is worst(judgements, as_server=True) is ConnectionQuality.EXCELLENT


def test_three_seconds_without_a_datagram_are_one_freeze_and_nothing_else() -> None:
    """Blocked from 15 s to 18 s. What was held back then comes at once, which is no frame rate to measure by."""
    found = judged(FOLDER / "blocked.jsonl")
    assert told(found[TrackKind.AUDIO]) == []
    video = found[TrackKind.VIDEO]
    assert told(video) == [(Pattern.FREEZE, True), (Pattern.FREEZE, False)]
    began, ended = (change for judgement in video for change in judgement.changes)
    start = video[0].at - 1.0
    assert 15.0 < began.at - start < 20.0
    assert ended.at - start < 31.0
    assert worst(video[:14]) is ConnectionQuality.EXCELLENT


def test_loss_that_is_mended_is_none_of_the_recordings_and_freezes_no_picture() -> None:
    """A share of 0.13 lost each way from 15 s to 40 s: asked for again, and audio out of redundancy."""
    found = judged(FOLDER / "lossy.jsonl")
    for kind, as_server in ((TrackKind.AUDIO, ConnectionQuality.GOOD), (TrackKind.VIDEO, ConnectionQuality.POOR)):
        judgements = found[kind]
        assert told(judgements) == []
        assert worst(judgements) is ConnectionQuality.EXCELLENT
        assert worst(judgements, as_server=True) is as_server, "for the server it is lost"
        assert worst(judgements[:14], as_server=True) is ConnectionQuality.EXCELLENT
        repaired = sum(judgement.window.packets_repaired for judgement in judgements[15:39])
        packets = sum(judgement.window.packets for judgement in judgements[15:39])
        assert 0.08 < repaired / packets < 0.16
