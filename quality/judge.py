"""One track, judged once a second in one step: snapshot in; window, score, models and patterns out.

The score is the server's scale (`quality.score`) and says how the track does as the server counts it. The models say
how it is for people: speech by the E-model (`quality.audio_model`), a picture by size, bits, rate and freezes
(`quality.video_model`). Patterns name what is wrong (`quality.patterns`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from quality import audio_model, patterns, score, video_model
from quality.pattern_series import covered_s, other_layer, within
from quality.patterns import ActivePattern, PatternChange, PatternState
from quality.score import Score, ScoreState
from quality.stats import Direction, TrackKind, TrackSnapshot
from quality.window import Window, combined, delta

MODEL_SPAN_S = 5.0  # as long as the server's interval: a freeze of a second must not be all that is seen
LEAST_SPAN_S = 3.0  # the first second of a stream has few frames
SPEECH_BPS = 12_000.0  # below, nobody speaks: Opus for speech is sent at 16 kb/s and more (RFC 7587 section 3.1.1)
UNBROKEN = 0.8  # of a second's packets, or more: the rest may be on its way
BURST_SPAN_S = 30.0


@dataclass(frozen=True, slots=True)
class Coding:
    """How a track is coded: a video's codec (None where it is not known), and whether its audio is sent twice (RED).

    `repaired`: this end counts losses after redundancy mended them, so that what is left weighs in full.
    """

    video: video_model.VideoCodec | None = None
    red: bool = False
    repaired: bool = False

    @property
    def mends(self) -> bool:
        """Whether redundancy is still to mend some of what is counted as lost."""
        return self.red and not self.repaired


@dataclass(frozen=True, slots=True)
class Model:
    """What people see or hear, as far as statistics tell: MOS 1..4.5, and why it is no better."""

    mos: float
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    """A track at `at`. `model` is None where there is nothing to judge (muted, paused, sent, codec not known).

    `score` is of what arrived in the end; `as_server` counts all that was lost on the way, as the server does.
    `patterns` hold now, `changes` began or ended now.
    """

    track_sid: str
    at: float
    window: Window
    score: Score
    as_server: Score
    model: Model | None = None
    patterns: tuple[ActivePattern, ...] = ()
    changes: tuple[PatternChange, ...] = ()


@dataclass(frozen=True, slots=True)
class JudgeState:
    """What `step` remembers of one track. Begin with `start`. `resumed_at`: when it was last muted or paused."""

    snapshot: TrackSnapshot
    coding: Coding
    score: ScoreState
    as_server: ScoreState
    patterns: PatternState
    resumed_at: float = -math.inf


def coding_of(mime_type: str, *, repaired: bool = False) -> Coding:
    """What a track's MIME type says (`video/VP8`, `audio/red`)."""
    kind, _, codec = mime_type.lower().partition("/")
    known = codec in set(video_model.VideoCodec) and kind == TrackKind.VIDEO
    return Coding(video_model.VideoCodec(codec) if known else None, codec == "red", repaired)


def start(snapshot: TrackSnapshot, coding: Coding) -> JudgeState:
    """The state of a track that is seen for the first time."""
    judged, as_server = score.start(snapshot.kind, red=coding.mends), score.start(snapshot.kind, red=coding.red)
    return JudgeState(snapshot, coding, judged, as_server, patterns.start(snapshot.track_sid))


def step(state: JudgeState, snapshot: TrackSnapshot, now: float) -> tuple[JudgeState, Judgement]:
    """Take in `snapshot` of the same track, taken at `now`, and judge what happened since the one before."""
    window = delta(state.snapshot, snapshot)
    resumed_at = now if window.rests else state.resumed_at
    window = _without_the_rest(window, now - resumed_at)
    scored, verdict = score.step(state.score, window, now)
    server_scored, as_server = score.step(state.as_server, _on_the_way(window), now)
    seen, changes = patterns.step(state.patterns, window, now)
    after = replace(
        state, snapshot=snapshot, score=scored, as_server=server_scored, patterns=seen, resumed_at=resumed_at
    )
    model = _model(after, window, now)
    return after, Judgement(snapshot.track_sid, now, window, verdict, as_server, model, seen.active, changes)


def _without_the_rest(window: Window, awake_s: float) -> Window:
    """Receivers count the time of a mute or a pause as a freeze once the picture is back."""
    return replace(window, freeze_count=0, freeze_s=0.0) if window.freeze_s >= awake_s else window


def _on_the_way(window: Window) -> Window:
    """The window as RFC 3550's reports tell of it, which the server judges by: what was mended is lost."""
    repaired = window.packets_repaired
    if not repaired:
        return window
    return replace(window, packets=max(0, window.packets - repaired), packets_lost=window.packets_lost + repaired)


def end(state: JudgeState, now: float) -> tuple[PatternChange, ...]:
    """The track is gone: the patterns that held end with it."""
    return tuple(
        PatternChange(
            state.snapshot.track_sid,
            active.pattern,
            began=False,
            at=now,
            began_at=active.began_at,
            reason="track ended",
        )
        for active in state.patterns.active
    )


def _model(state: JudgeState, window: Window, now: float) -> Model | None:
    if window.direction is Direction.OUTBOUND or window.rests:
        return None
    recent = within(state.patterns.samples, now, MODEL_SPAN_S)
    if not window.measured or covered_s(recent) < LEAST_SPAN_S:
        return None
    span = combined(recent)
    if window.kind is TrackKind.VIDEO:
        shown = _as_sized_now(span, len(recent), [sample.window for sample in state.patterns.samples])
        picture = video_model.picture(shown, state.coding.video) if state.coding.video else None
        if picture is None:
            return None
        seen = video_model.judge(picture)
        return Model(seen.mos, seen.reasons)
    if span.packets_expected == 0:
        return None
    heard = audio_model.judge(_audio_path(span, within(state.patterns.samples, now, BURST_SPAN_S), state.coding))
    return Model(heard.mos, heard.reasons)


def _as_sized_now(span: Window, windows: int, history: Sequence[Window]) -> Window:
    """`span`, of the last `windows`, as if all its frames took what those of the latest size do, which is judged."""
    area = span.frame_width * span.frame_height
    same = [*takewhile(lambda each: not other_layer(each.frame_width * each.frame_height, area), reversed(history))]
    if 1 < len(same) < len(history):
        same.pop()  # the second of the change has frames of both sizes
    same = same[:windows]
    frames = sum(window.frames for window in same)
    taken = sum(window.bytes for window in same)
    return replace(span, bytes=round(taken * span.frames / frames)) if frames else span


def _audio_path(span: Window, history: Sequence[Window], coding: Coding) -> audio_model.AudioPath:
    """What speech goes through; only this end's leg is known of its delay."""
    legs = () if span.round_trip_time_s is None else (span.round_trip_time_s,)
    # Half of what comes is there twice, whoever mends by it.
    loudest_bps = max(map(_unbroken_bps, history)) / (2.0 if coding.red else 1.0)
    return audio_model.AudioPath(
        one_way_delay_s=audio_model.one_way_delay_s(legs, span.jitter_buffer_delay_s),
        loss_ratio=span.loss_ratio,
        burst_ratio=audio_model.burst_ratio(history) if span.packets_lost else 1.0,
        bitrate_bps=loudest_bps if loudest_bps >= SPEECH_BPS else None,
        red=coding.mends,
    )


def _unbroken_bps(window: Window) -> float:
    """What sound took that came all the time, lost packets too; 0 of a second with a pause, which says less of it."""
    sounding_s = window.packets_expected * audio_model.PACKET_S
    if not window.packets or sounding_s < UNBROKEN * window.duration_s:
        return 0.0
    return window.bytes * 8 / (window.packets * audio_model.PACKET_S)
