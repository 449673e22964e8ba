"""A participant's quality from its tracks', beside what the server says of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from quality.judge import Judgement
from quality.score import ConnectionQuality, Score, worst


@dataclass(frozen=True, slots=True)
class ServerOpinion:
    """What the server said last of a participant (its `ConnectionQuality`); `mos` None where it sent none."""

    quality: ConnectionQuality
    mos: float | None = None


@dataclass(frozen=True, slots=True)
class ParticipantJudgement:
    """A participant at `at`: as good as its worst track, beside what the server says.

    `as_server` is that where losses count as they do for the server.

    `own`: this end itself, whose tracks are all that it receives and sends; the server judges that the same way. Of
    others it judges what they send to it and receive from it, which we see only as far as it comes on to us.

    `muted`: all of its tracks are, of which the score says nothing.
    """

    participant_identity: str
    at: float
    score: Score
    as_server: Score
    own: bool = False
    server: ServerOpinion | None = None
    muted: bool = False


class Agreement(StrEnum):
    """How far our word and the server's are from each other."""

    SAME = "same"
    ADJACENT = "adjacent"
    FURTHER = "further"


_ORDER = tuple(ConnectionQuality)


def agreement(ours: ConnectionQuality, servers: ConnectionQuality) -> Agreement:
    """How many levels lie between the two."""
    steps = abs(_ORDER.index(ours) - _ORDER.index(servers))
    return (Agreement.SAME, Agreement.ADJACENT)[steps] if steps < 2 else Agreement.FURTHER


def judge_participants(
    judgements: Sequence[Judgement],
    publisher_of: Mapping[str, str],
    own_identity: str,
    opinions: Mapping[str, ServerOpinion],
    now: float,
) -> tuple[ParticipantJudgement, ...]:
    """Each publisher (by `publisher_of` a track's SID), and this end as `own_identity`; in order of identity.

    An `own_identity` that is empty is not known any more (the connection ended): this end is left out.
    """
    found: dict[str, list[Judgement]] = {}
    for judgement in judgements:
        identity = publisher_of.get(judgement.track_sid)
        if identity is not None and identity != own_identity:
            found.setdefault(identity, []).append(judgement)
    if judgements and own_identity:
        found[own_identity] = list(judgements)
    return tuple(
        ParticipantJudgement(
            participant_identity=identity,
            at=now,
            score=_worst(judgement.score for judgement in each),
            as_server=_worst(judgement.as_server for judgement in each),
            own=identity == own_identity,
            server=opinions.get(identity),
            muted=all(judgement.window.muted for judgement in each),
        )
        for identity, each in sorted(found.items())
    )


def _worst(scores: Iterable[Score]) -> Score:
    """The worst of at least one."""
    found = worst(tuple(scores))
    assert found is not None
    return found
