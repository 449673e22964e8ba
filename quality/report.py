"""A recording's quality in one value: per track, per participant and in all, with points for plots.

`ReportBuilder` takes the samples one by one and keeps a bounded number of points however long the recording was
and however many tracks it has, but for one to three of each: when there are too many, neighbours become one. Sums,
shares and extremes stay exact.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quality.participants import Agreement
from quality.report_gathered import GatheredParticipant, GatheredTrack, count, merged_participant
from quality.report_points import MAX_POINTS_IN_ALL, Thinning, TrackPoint, merged
from quality.report_spans import UNTOLD, PatternSpan, Spans
from quality.samples import ParticipantSample, TrackSample
from quality.score import ConnectionQuality, connection_quality, mean_opinion_score

REPORT_VERSION = 1
"""Of the JSON that a report becomes. Fields may be added to a version; what changes its meaning makes another."""


@dataclass(frozen=True, slots=True)
class ReportedTrack:
    """Which track a SID means. `connection` received it: "tap", or "participant" where it was decoded."""

    track_sid: str
    name: str
    kind: str
    source: str
    participant_identity: str
    mime_type: str = ""
    connection: str = ""


@dataclass(frozen=True, slots=True)
class ReportedRecording:
    """Which recording it is. Times are Unix seconds; `ended_at` None where it was not closed."""

    recording_id: str
    room: str
    state: str
    started_at: float
    ended_at: float | None


@dataclass(frozen=True, slots=True)
class TrackReport:
    """A track. Times are seconds of the recording, `judged_s` how many of them were judged.

    `score` and `mos` are means over the time on the server's scale, `model_mos` is of what people see or hear.
    `qualities` are shares of the time by the server's words. `loss_ratio` is of all packets expected. Means are over
    the time in which a figure was known; None is what was not measured. `sizes` are in order of appearance.
    """

    track: ReportedTrack
    starts_at_s: float
    ends_at_s: float
    judged_s: float
    score: float
    score_min: float
    mos: float
    quality: ConnectionQuality
    model_mos: float | None
    qualities: Mapping[str, float]
    packets: int
    packets_lost: int
    packets_repaired: int
    loss_ratio: float
    bitrate_bps: float
    fps: float
    jitter_s: float
    jitter_buffer_delay_s: float
    round_trip_time_s: float | None
    freeze_count: int
    freeze_s: float
    nack_count: int
    pli_count: int
    key_frames: int
    concealed_ratio: float
    level_dbfs: float | None
    silent_ratio: float | None
    clipped_ratio: float | None
    black_ratio: float | None
    still_ratio: float | None
    sizes: tuple[str, ...]
    patterns: tuple[PatternSpan, ...]
    points: tuple[TrackPoint, ...]


@dataclass(frozen=True, slots=True)
class ParticipantPoint:
    """A participant up to `at_s` of the recording; where samples were put together, with the worst of their words."""

    at_s: float
    score: float
    score_min: float
    quality: ConnectionQuality
    as_server_quality: ConnectionQuality
    server_quality: ConnectionQuality | None
    server_mos: float | None
    muted: bool = False


@dataclass(frozen=True, slots=True)
class AgreementFigures:
    """How many samples were compared with the server's word, and how far the two were from each other."""

    same: int = 0
    adjacent: int = 0
    further: int = 0

    @property
    def compared(self) -> int:
        """All that were compared."""
        return self.same + self.adjacent + self.further


@dataclass(frozen=True, slots=True)
class ParticipantReport:
    """A participant; `own` is the end that recorded. Means as in `TrackReport`; the server's are None or empty where
    it said nothing. `agreement` compares our words, where losses count as they do for the server, with its own."""

    participant_identity: str
    own: bool
    score: float
    score_min: float
    mos: float
    quality: ConnectionQuality
    qualities: Mapping[str, float]
    server_mos: float | None
    server_qualities: Mapping[str, float]
    agreement: AgreementFigures
    points: tuple[ParticipantPoint, ...]


@dataclass(frozen=True, slots=True)
class QualityReport:
    """All of it. `score`, `mos` and `quality` are those of the worst participant who was recorded, None without any.

    `qualities` are shares of the time of all tracks; `patterns` counts how often each began. `agreement` is that of the
    recorder: of others the server judges their own ways. `unreadable_lines` of the samples were left out.
    """

    version: int
    recording: ReportedRecording
    duration_s: float
    score: float | None
    mos: float | None
    quality: ConnectionQuality | None
    qualities: Mapping[str, float]
    patterns: Mapping[str, int]
    agreement: AgreementFigures
    tracks: tuple[TrackReport, ...]
    participants: tuple[ParticipantReport, ...]
    unreadable_lines: int = 0

    @property
    def spans(self) -> list[PatternSpan]:
        """The patterns of all tracks, by their beginning."""
        return sorted((span for track in self.tracks for span in track.patterns), key=lambda span: span.began_at_s)


class ReportBuilder:
    """`add` what the samples say, in order; `build` whenever a report is wanted. Who adds them in another order has a
    sound report too, but patterns whose end came before their beginning last to the end.

    Times of what is added are Unix seconds; `started_at` is the zero of the recording's own. All tracks together keep
    `most_points`, and all participants; of more than a third as many each may have three.
    """

    def __init__(self, started_at: float, most_points: int = MAX_POINTS_IN_ALL) -> None:
        self.started_at = started_at
        self._labels: dict[str, ReportedTrack] = {}
        self._tracks: dict[str, GatheredTrack] = {}
        self._participants: dict[str, GatheredParticipant] = {}
        self._thin_tracks, self._thin_participants = Thinning(most_points), Thinning(most_points)
        self.unreadable_lines = 0

    @property
    def empty(self) -> bool:
        """Whether no track was judged."""
        return not self._tracks

    def add_track(self, track: ReportedTrack) -> None:
        """Say which track a SID means; the last word counts."""
        self._labels[track.track_sid] = track

    def add_sample(self, sample: TrackSample) -> None:
        """Take in a track's sample."""
        track = self._gathered(sample.track_sid)
        self._follow_patterns(track.spans, sample)
        track.add(sample)
        self._thin_tracks.added(self._tracks.values())

    def _follow_patterns(self, spans: Spans, sample: TrackSample) -> None:
        label, at_s = self._labels.get(sample.track_sid), sample.at - self.started_at
        identity, began_at_s = label.participant_identity if label else "", max(0.0, at_s - sample.duration_s)
        began = PatternSpan(sample.track_sid, identity, "", began_at_s, began_at_s, False, UNTOLD)
        spans.follow(sample.patterns, began, at_s)

    def add_participant(self, sample: ParticipantSample) -> None:
        """Take in a participant's sample."""
        known = self._participants.get(sample.participant_identity)
        if known is None:
            known = self._participants[sample.participant_identity] = GatheredParticipant(sample.own)
            self._thin_participants.begin(known)
        known.add(sample)
        self._thin_participants.added(self._participants.values())

    def _gathered(self, sid: str) -> GatheredTrack:
        track = self._tracks.get(sid)
        if track is None:
            track = self._tracks[sid] = GatheredTrack()
            self._thin_tracks.begin(track)
        return track

    def copy(self) -> "ReportBuilder":
        """What was added so far, for a thread to `build` of while more is added here, and nothing there.

        Takes some 50 ms where there are 4,000 tracks, and next to none in most recordings.
        """
        copied = ReportBuilder(self.started_at)
        copied.unreadable_lines = self.unreadable_lines
        copied._labels = dict(self._labels)
        copied._tracks = {sid: track.copy() for sid, track in self._tracks.items()}
        copied._participants = {name: item.copy() for name, item in self._participants.items()}
        return copied

    def begin_pattern(self, span: PatternSpan) -> None:
        """A pattern began; `began_at_s` in seconds of the recording. One that was still open ends first."""
        self._gathered(span.track_sid).spans.begin(span)

    def end_pattern(self, track_sid: str, pattern: str, at_s: float) -> None:
        """A pattern ended; one that is not known to have begun is passed over."""
        if track_sid in self._tracks:
            self._tracks[track_sid].spans.end(pattern, at_s)

    def build(self, recording: ReportedRecording) -> QualityReport:
        """The report of all that was added so far."""
        judged = {sid: track for sid, track in self._tracks.items() if track.first is not None}
        tracks = tuple(self._track(sid, track) for sid, track in judged.items())
        participants = tuple(self._participant(name, item) for name, item in sorted(self._participants.items()))
        worst = min((item for item in participants if not item.own), key=lambda item: item.score, default=None)
        seconds: dict[str, float] = {}
        together: Counter[str] = Counter()
        for track in judged.values():
            for word, duration_s in track.seconds.items():
                count(seconds, word, duration_s)
        for item in self._participants.values():
            together.update(item.agreement if item.own else {})
        began: Counter[str] = Counter()
        for span in (span for each in tracks for span in each.patterns):
            began[span.pattern] += span.count
        ends = [track.ends_at_s for track in tracks]
        ended_at = recording.ended_at
        return QualityReport(
            version=REPORT_VERSION,
            recording=recording,
            duration_s=max([*ends, 0.0 if ended_at is None else ended_at - recording.started_at]),
            score=worst.score if worst else None,
            mos=worst.mos if worst else None,
            quality=worst.quality if worst else None,
            qualities=_shares(seconds),
            patterns=dict(sorted(began.items())),
            agreement=_figures(together),
            tracks=tuple(sorted(tracks, key=lambda item: (item.track.participant_identity, item.starts_at_s))),
            participants=participants,
            unreadable_lines=self.unreadable_lines,
        )

    def _track(self, sid: str, track: GatheredTrack) -> TrackReport:
        assert track.first is not None
        assert track.last is not None
        points, started_at = sorted(track.points.all, key=lambda point: point.sample.at), self.started_at
        whole = merged(points).sample
        live = track.live.sample if track.live else whole
        ends_at_s = track.last.at - started_at
        return TrackReport(
            track=self._labels.get(sid, ReportedTrack(sid, sid, "video" if track.sizes else "audio", "unknown", "")),
            starts_at_s=max(0.0, track.first.at - track.first.duration_s - started_at),
            ends_at_s=ends_at_s,
            judged_s=live.duration_s,
            score=live.score,
            score_min=live.score_min,
            mos=mean_opinion_score(live.score),
            quality=connection_quality(live.score),
            model_mos=live.model_mos,
            qualities=_shares(track.seconds),
            packets=whole.packets,
            packets_lost=whole.packets_lost,
            packets_repaired=whole.packets_repaired,
            loss_ratio=whole.loss_ratio,
            bitrate_bps=live.bitrate_bps,
            fps=live.fps,
            jitter_s=live.jitter_s,
            jitter_buffer_delay_s=live.jitter_buffer_delay_s,
            round_trip_time_s=live.round_trip_time_s,
            freeze_count=whole.freeze_count,
            freeze_s=whole.freeze_s,
            nack_count=whole.nack_count,
            pli_count=whole.pli_count,
            key_frames=whole.key_frames,
            concealed_ratio=live.concealed_ratio,
            level_dbfs=live.level_dbfs,
            silent_ratio=live.silent_ratio,
            clipped_ratio=live.clipped_ratio,
            black_ratio=live.black_ratio,
            still_ratio=live.still_ratio,
            sizes=tuple(track.sizes),
            patterns=tuple(track.spans.all(ends_at_s)),
            points=tuple(TrackPoint.of(point.sample, started_at) for point in points),
        )

    def _participant(self, identity: str, item: GatheredParticipant) -> ParticipantReport:
        points, started_at = sorted(item.points.all, key=lambda point: point.at), self.started_at
        score, score_min = item.score.value, item.score_min
        if score is None:  # muted all the time
            whole = merged_participant(points)
            score, score_min = whole.score, whole.lowest
        return ParticipantReport(
            participant_identity=identity,
            own=item.own,
            score=score,
            score_min=score_min,
            mos=mean_opinion_score(score),
            quality=connection_quality(score),
            qualities=_shares(item.words),
            server_mos=item.server_mos.value,
            server_qualities=_shares(item.server_words),
            agreement=_figures(item.agreement),
            points=tuple(
                ParticipantPoint(
                    each.at - started_at,
                    each.score,
                    each.lowest,
                    each.quality,
                    each.as_server_quality,
                    each.server_quality,
                    each.server_mos,
                    each.muted,
                )
                for each in points
            ),
        )


def _shares(amounts: Mapping[str, float]) -> dict[str, float]:
    """Each word's share, 0..1, in the order of the words; empty where nothing was counted."""
    total = sum(amounts.values())
    words: Sequence[str] = [quality.value for quality in ConnectionQuality]
    return {word: amounts.get(word, 0.0) / total for word in words} if total > 0 else {}


def _figures(counted: Mapping[str, int]) -> AgreementFigures:
    return AgreementFigures(*(counted.get(result.value, 0) for result in Agreement))
