"""What is kept of a track's and a participant's quality over some seconds: the lines of a recording's quality.jsonl."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from quality.judge import Judgement, Model
from quality.participants import ParticipantJudgement
from quality.score import ConnectionQuality, connection_quality, mean_opinion_score
from quality.window import combined


@dataclass(frozen=True, slots=True)
class TrackSample:
    """A track over the `duration_s` up to `at` (Unix seconds).

    `score` is the mean, `score_min` the lowest on the server's scale, `mos` that of `score`; `model_mos` what people
    see or hear (`quality.judge.Model`), None where that is not judged. Ratios are 0..1, `level_dbfs` as in
    `quality.content.Content`. Counts are of these seconds; None is what this end does not measure.
    """

    track_sid: str
    at: float
    duration_s: float
    score: float
    score_min: float
    mos: float
    quality: ConnectionQuality
    reasons: tuple[str, ...] = ()
    model_mos: float | None = None
    model_reasons: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    muted: bool = False
    stream_paused: bool = False
    packets: int = 0
    packets_lost: int = 0
    packets_repaired: int = 0
    bitrate_bps: float = 0.0
    fps: float = 0.0
    frame_width: int = 0
    frame_height: int = 0
    layer_distance: int = 0
    requested_quality: str | None = None
    freeze_count: int = 0
    freeze_s: float = 0.0
    jitter_s: float = 0.0
    jitter_buffer_delay_s: float = 0.0
    round_trip_time_s: float | None = None
    nack_count: int = 0
    pli_count: int = 0
    key_frames: int = 0
    concealed_ratio: float = 0.0
    audio_level: float | None = None
    available_bandwidth_bps: float | None = None
    quality_limitation_reason: str = "none"
    sent_layers: int = 0
    target_bitrate_bps: float = 0.0
    level_dbfs: float | None = None
    silent_ratio: float | None = None
    clipped_ratio: float | None = None
    black_ratio: float | None = None
    still_ratio: float | None = None

    @property
    def loss_ratio(self) -> float:
        """Lost of expected packets, 0..1, of what is received; 0 where none were expected."""
        expected = self.packets + self.packets_lost
        return self.packets_lost / expected if expected else 0.0


@dataclass(frozen=True, slots=True)
class ParticipantSample:
    """A participant over the `duration_s` up to `at`, and what the server says of it (None where it said nothing yet).

    `score` is the mean, `score_min` the lowest (None in old files), `mos` that of `score`. Words are those at `at`, so
    that like is compared with like: `as_server_quality`, where losses count as for the server, with the server's own.
    `muted`: all of its tracks were, all the time; else the scores are those of when they were not.
    """

    participant_identity: str
    at: float
    score: float
    mos: float
    quality: ConnectionQuality
    as_server_quality: ConnectionQuality
    own: bool = False
    server_quality: ConnectionQuality | None = None
    server_mos: float | None = None
    duration_s: float = 2.0
    score_min: float | None = None
    muted: bool = False

    @property
    def lowest(self) -> float:
        """The lowest score, also of a line in an old file."""
        return self.score if self.score_min is None else self.score_min


def track_sample(judgements: Sequence[Judgement]) -> TrackSample:
    """The sample over `judgements` of one track, in order; at least one, and all of them muted or none."""
    window = combined([judgement.window for judgement in judgements])
    latest, seen = judgements[-1], window.content.content
    score = fmean(judgement.score.value for judgement in judgements)
    models = [judgement.model for judgement in judgements if judgement.model is not None]
    return TrackSample(
        track_sid=latest.track_sid,
        at=latest.at,
        duration_s=window.duration_s,
        score=score,
        score_min=min(judgement.score.value for judgement in judgements),
        mos=mean_opinion_score(score),
        quality=connection_quality(score),
        reasons=min(judgements, key=lambda judgement: judgement.score.value).score.reasons,
        model_mos=fmean(model.mos for model in models) if models else None,
        model_reasons=_worst_reasons(models),
        patterns=tuple(dict.fromkeys(item.pattern.value for judged in judgements for item in judged.patterns)),
        muted=window.muted,
        stream_paused=window.stream_paused,
        packets=window.packets,
        packets_lost=window.packets_lost,
        packets_repaired=window.packets_repaired,
        bitrate_bps=window.bitrate_bps,
        fps=window.fps,
        frame_width=window.frame_width,
        frame_height=window.frame_height,
        layer_distance=window.layer_distance,
        requested_quality=None if window.requested_quality is None else window.requested_quality.name.lower(),
        freeze_count=window.freeze_count,
        freeze_s=window.freeze_s,
        jitter_s=window.jitter_s,
        jitter_buffer_delay_s=window.jitter_buffer_delay_s,
        round_trip_time_s=window.round_trip_time_s,
        nack_count=window.nack_count,
        pli_count=window.pli_count,
        key_frames=window.key_frames,
        concealed_ratio=window.concealed_ratio,
        audio_level=window.audio_level,
        available_bandwidth_bps=window.available_bandwidth_bps,
        quality_limitation_reason=window.quality_limitation_reason.value,
        sent_layers=window.sent_layers,
        target_bitrate_bps=window.target_bitrate_bps,
        level_dbfs=seen.level_dbfs,
        silent_ratio=seen.silent_ratio,
        clipped_ratio=seen.clipped_ratio,
        black_ratio=seen.black_ratio,
        still_ratio=seen.still_ratio,
    )


def participant_sample(judgements: Sequence[ParticipantJudgement], duration_s: float) -> ParticipantSample:
    """The sample over `judgements` of one participant, at least one, which together stand for `duration_s`."""
    latest = judgements[-1]
    heard = [judgement for judgement in judgements if not judgement.muted] or judgements
    scores = [judgement.score.value for judgement in heard]
    score = fmean(scores)
    return ParticipantSample(
        participant_identity=latest.participant_identity,
        at=latest.at,
        score=score,
        mos=mean_opinion_score(score),
        quality=latest.score.quality,
        as_server_quality=latest.as_server.quality,
        own=latest.own,
        server_quality=latest.server.quality if latest.server else None,
        server_mos=latest.server.mos if latest.server else None,
        duration_s=duration_s,
        score_min=min(scores),
        muted=all(judgement.muted for judgement in judgements),
    )


def _worst_reasons(models: Sequence[Model]) -> tuple[str, ...]:
    return min(models, key=lambda model: model.mos).reasons if models else ()
