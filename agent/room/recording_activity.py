"""What tells whether a recording still has something to record (pure)."""

from collections.abc import Mapping
from dataclasses import dataclass

from agent.room.recording_rates import ReceiveRates

SOUND_BPS = 6_000  # the least that Opus codes speech in (RFC 7587 section 3.1.1); DTX and digital silence stay below


@dataclass(frozen=True, slots=True)
class RecordingActivity:
    """What the recording knows of the room. `heard`: somebody who is recorded.

    `connected`: the tap can tell what comes; that nothing does any more is known too, once it is closed for good.

    `packets` received so far; `recorded_s` and `size_bytes` include what earlier writers recorded.
    """

    recording_id: str
    connected: bool
    paused: bool
    heard: bool
    packets: int
    recorded_s: float
    size_bytes: int


def is_heard(publishers: Mapping[str, str], speakers: Mapping[str, bool], rates: ReceiveRates) -> bool:
    """Whether sound comes of any of the recorded audio tracks; `publishers` has each one's participant SID.

    The server measures who speaks (`speakers`: participant SID to whether they do now). Whom it never told of,
    because it has no levels of theirs or they never spoke, is judged by bit rate: silence is small in Opus.
    """
    return any(
        speakers[participant_sid] if participant_sid in speakers else rates.latest_bps(sid) >= SOUND_BPS
        for sid, participant_sid in publishers.items()
    )
