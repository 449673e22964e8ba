"""Which tracks to subscribe to: rules over what is published, as a pure function."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase

from agent.room.state import ParticipantState, TrackState
from quality.stats import TrackKind, TrackSource, VideoQuality


class SubscribeAction(StrEnum):
    """What a rule, the policy's default or a person says of a track."""

    SUBSCRIBE = "subscribe"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class SubscriptionRule:
    """Matches tracks by glob patterns (`*` for anything); all that is given must match.

    `participant` is matched with identities, `sid` with track SIDs, `name` with track names, `metadata` with the
    participant's metadata, `attributes` with its attributes by key (a missing attribute is empty).
    `max_tracks` limits how many tracks this rule subscribes to. `quality` is the best layer to
    take of its videos, `max_fps` the frames a second asked for of them at most (None: all), which counts in a
    recording's policy alone: the SDK's connection cannot ask for them.
    """

    action: SubscribeAction = SubscribeAction.SUBSCRIBE
    participant: str = "*"
    kind: TrackKind | None = None
    source: TrackSource | None = None
    sid: str = "*"
    name: str = "*"
    metadata: str = "*"
    attributes: tuple[tuple[str, str], ...] = ()
    max_tracks: int | None = None
    quality: VideoQuality = VideoQuality.HIGH
    max_fps: int | None = None

    def matches(self, participant: ParticipantState, track: TrackState) -> bool:
        """Whether this rule speaks of that track."""
        return (
            (self.kind is None or track.kind == self.kind)
            and (self.source is None or track.source == self.source)
            and fnmatchcase(participant.identity, self.participant)
            and fnmatchcase(track.sid, self.sid)
            and fnmatchcase(track.name, self.name)
            and fnmatchcase(participant.metadata, self.metadata)
            and all(fnmatchcase(participant.attributes.get(key, ""), glob) for key, glob in self.attributes)
        )


@dataclass(frozen=True, slots=True)
class SubscriptionPolicy:
    """Rules of which the first match wins, what to do where none does, and a limit over all.

    Where `max_tracks` is too small, earlier rules come first, then tracks subscribed already, then
    those published first; what people chose comes before all.
    """

    rules: tuple[SubscriptionRule, ...] = ()
    default: SubscribeAction = SubscribeAction.SUBSCRIBE
    max_tracks: int | None = None


@dataclass(frozen=True, slots=True)
class TrackKey:
    """What a track is known by across reconnects, when its SID changes."""

    participant_identity: str
    kind: str
    source: str
    name: str

    @classmethod
    def of(cls, track: TrackState) -> "TrackKey":
        """The key of that track."""
        return cls(track.participant_identity, track.kind, track.source, track.name)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A published track, in the order of publication."""

    participant: ParticipantState
    track: TrackState
    subscribed: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """What to do with one track, the best layer to take, why (for people), and the most frames a second (None: all)."""

    sid: str
    subscribe: bool
    quality: VideoQuality
    reason: str
    max_fps: int | None = None


@dataclass(slots=True)
class _Budget:
    left: int | None
    left_by_rule: dict[int, int] = field(default_factory=dict)


def decide(
    policy: SubscriptionPolicy,
    candidates: Iterable[Candidate],
    overrides: Mapping[TrackKey, SubscribeAction] | None = None,
    fed: Collection[str] = (),
) -> tuple[Choice, ...]:
    """One choice for each candidate, in the order given; `overrides` are what people chose.

    Tracks of the SIDs `fed` somebody takes media of: they are subscribed to first of all.
    """
    chosen = overrides or {}
    ranked = []
    for order, candidate in enumerate(candidates):
        override = chosen.get(TrackKey.of(candidate.track))
        if candidate.track.sid in fed:
            override = SubscribeAction.SUBSCRIBE
        rule_index = _first_match(policy, candidate)
        rank = (override is None, rule_index, not candidate.subscribed, order)
        ranked.append((rank, order, candidate, override))
    budget = _Budget(policy.max_tracks)
    choices = [
        (order, _choose(policy, candidate, override, rank[1], budget))
        for rank, order, candidate, override in sorted(ranked, key=lambda item: item[0])
    ]
    return tuple(choice for _, choice in sorted(choices, key=lambda item: item[0]))


def _first_match(policy: SubscriptionPolicy, candidate: Candidate) -> int:
    for index, rule in enumerate(policy.rules):
        if rule.matches(candidate.participant, candidate.track):
            return index
    return len(policy.rules)


def _choose(
    policy: SubscriptionPolicy,
    candidate: Candidate,
    override: SubscribeAction | None,
    rule_index: int,
    budget: _Budget,
) -> Choice:
    sid = candidate.track.sid
    rule = policy.rules[rule_index] if rule_index < len(policy.rules) else None
    quality = rule.quality if rule else VideoQuality.HIGH
    if override is not None:
        action, reason = override, "chosen by hand"
    elif rule is not None:
        action, reason = rule.action, f"rule {rule_index + 1}"
    else:
        action, reason = policy.default, "no rule matches"
    if action is SubscribeAction.IGNORE:
        return Choice(sid, subscribe=False, quality=quality, reason=reason)
    if override is None and rule is not None and rule.max_tracks is not None:
        left = budget.left_by_rule.setdefault(rule_index, rule.max_tracks)
        if left <= 0:
            return Choice(sid, subscribe=False, quality=quality, reason=f"{reason} has {rule.max_tracks} tracks")
        budget.left_by_rule[rule_index] = left - 1
    if budget.left is not None:
        if budget.left <= 0:
            return Choice(sid, subscribe=False, quality=quality, reason=f"{policy.max_tracks} tracks are the most")
        budget.left -= 1
    return Choice(sid, subscribe=True, quality=quality, reason=reason, max_fps=rule.max_fps if rule else None)
