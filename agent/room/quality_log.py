"""A recording's quality.jsonl: judgements of some seconds together in one line, patterns as they come.

Bounded: a line for each track and participant every `SAMPLE_S`, and later where that were more than `MAX_LINES_PER_S`
in all. The seconds in which a track was muted have a line of their own, so that they weigh in no figure. A writer that
dies costs what was gathered since the last lines.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields

from agent.room.quality_monitor import JudgedTrack, LeftTrack, QualityTick, TrackLabel
from media.record.entries import JsonValue, TimelineEvent
from quality.judge import Judgement
from quality.participants import ParticipantJudgement
from quality.patterns import PatternChange
from quality.samples import ParticipantSample, TrackSample, participant_sample, track_sample

SAMPLE_S = 2.0  # well below the server's interval of 5 s; a line has some 400 bytes, a second of sound 4,000
MAX_LINES_PER_S = 20.0
TICK_S = 1.0
DIGITS = 4

Append = Callable[[TimelineEvent], object]


@dataclass(slots=True)
class _Gathered:
    """A participant's judgements since the last line, and for how long they stand."""

    judgements: list[ParticipantJudgement] = field(default_factory=list)
    duration_s: float = 0.0

    def add(self, judgement: ParticipantJudgement, duration_s: float) -> None:
        self.judgements.append(judgement)
        self.duration_s += duration_s


class QualityLog:
    """Give it each second's judgements; `append` gets the lines. `flush` before a pause and the end."""

    def __init__(self, append: Append) -> None:
        self._append = append
        self._gathered: dict[tuple[str, bool], list[JudgedTrack]] = {}  # by SID, and whether it was muted
        self._participants: dict[str, _Gathered] = {}
        self._described: dict[str, tuple[str, TrackLabel]] = {}
        self._written_at: float | None = None

    def take(self, tick: QualityTick) -> None:
        """Take in one second of one connection."""
        for judged in tick.tracks:
            self._describe(judged.label, tick)
            self._gathered.setdefault((judged.label.track_sid, judged.judgement.window.muted), []).append(judged)
            self._tell(judged.label, judged.judgement.changes)
        for left in tick.left:
            self._end(left, tick.connection)
        seconds = _seconds(tick)
        for each in tick.participants:
            self._participants.setdefault(each.participant_identity, _Gathered()).add(each, seconds)
        if self._written_at is None:
            self._written_at = tick.at
        if tick.at - self._written_at >= self._interval_s():
            self.flush(tick.at)

    def flush(self, now: float) -> None:
        """Write what is gathered."""
        self._written_at = now
        gathered, self._gathered = self._gathered, {}
        participants, self._participants = self._participants, {}
        for judged in sorted(gathered.values(), key=lambda each: each[-1].judgement.at):
            self._append(_track_event(judged))
        for identity, each in participants.items():
            sample = participant_sample(each.judgements, each.duration_s)
            payload = _payload(sample, ("participant_identity", "at"))
            self._append(TimelineEvent("participant_quality", sample.at, identity, payload))

    def _interval_s(self) -> float:
        return max(SAMPLE_S, (len(self._gathered) + len(self._participants)) / MAX_LINES_PER_S)

    def _end(self, left: LeftTrack, connection: str) -> None:
        """Say what ended with a track; not of one that only the other connection let go."""
        sid = left.label.track_sid
        if sid in self._described and self._described[sid][0] == connection:
            del self._described[sid]
            self._tell(left.label, left.changes)

    def _tell(self, label: TrackLabel, changes: tuple[PatternChange, ...]) -> None:
        for change in changes:
            self._append(_pattern_event(label, change))

    def _describe(self, label: TrackLabel, tick: QualityTick) -> None:
        """Say once which track is meant by the SID."""
        described = (tick.connection, label)
        if self._described.get(label.track_sid) == described:
            return
        self._described[label.track_sid] = described
        payload: dict[str, JsonValue] = {
            "track_sid": label.track_sid,
            "name": label.name,
            "kind": label.kind,
            "source": label.source,
            "mime_type": label.mime_type,
            "connection": tick.connection,
        }
        self._append(TimelineEvent("quality_track", tick.at, label.participant_identity, payload))


def _seconds(tick: QualityTick) -> float:
    """For how long the tick's judgements stand; a second where no window was measured."""
    return max((each.judgement.window.duration_s for each in tick.tracks), default=0.0) or TICK_S


def _track_event(judged: list[JudgedTrack]) -> TimelineEvent:
    label = judged[-1].label
    judgements: list[Judgement] = [each.judgement for each in judged]
    sample = track_sample(judgements)
    return TimelineEvent("track_quality", sample.at, label.participant_identity, _payload(sample, ("at",)))


def _pattern_event(label: TrackLabel, change: PatternChange) -> TimelineEvent:
    payload: dict[str, JsonValue] = {
        "track_sid": label.track_sid,
        "pattern": change.pattern.value,
        "began_at": change.began_at,
        "reason": change.reason,
        "figures": {figure.name: round(figure.value, DIGITS) for figure in change.figures},
    }
    name = "quality_pattern_began" if change.began else "quality_pattern_ended"
    return TimelineEvent(name, change.at, label.participant_identity, payload)


def _payload(sample: TrackSample | ParticipantSample, left_out: tuple[str, ...]) -> dict[str, JsonValue]:
    """The sample as JSON, rounded, without what the line has already and what is as by default."""
    values = ((each.name, getattr(sample, each.name), each.default) for each in fields(sample))
    return {name: _plain(value) for name, value, default in values if value != default and name not in left_out}


def _plain(value: object) -> JsonValue:
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    assert isinstance(value, str | int | bool)
    return value
