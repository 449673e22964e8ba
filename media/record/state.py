"""The states of a recording and the one function that says which follows which (pure)."""

from enum import StrEnum

from media.record.entries import RecordingState


class RecordingEvent(StrEnum):
    """What moves a recording from one state to another."""

    RESUMED = "resumed"
    PAUSED = "paused"
    UNPAUSED = "unpaused"
    STORAGE_FAILED = "storage_failed"
    STORAGE_ANSWERED = "storage_answered"
    CLOSED = "closed"
    """Closed in good order: everything is on disk."""
    ABANDONED = "abandoned"
    """Closed while the disk refused: the rest is up to a resume or repair."""


_TRANSITIONS = {
    (RecordingState.COMPLETE, RecordingEvent.RESUMED): RecordingState.RECORDING,
    (RecordingState.INTERRUPTED, RecordingEvent.RESUMED): RecordingState.RECORDING,
    (RecordingState.RECORDING, RecordingEvent.PAUSED): RecordingState.PAUSED,
    (RecordingState.PAUSED, RecordingEvent.UNPAUSED): RecordingState.RECORDING,
    (RecordingState.RECORDING, RecordingEvent.STORAGE_FAILED): RecordingState.STORAGE_ERROR,
    (RecordingState.PAUSED, RecordingEvent.STORAGE_FAILED): RecordingState.STORAGE_ERROR,
    (RecordingState.STORAGE_ERROR, RecordingEvent.STORAGE_FAILED): RecordingState.STORAGE_ERROR,
    (RecordingState.STORAGE_ERROR, RecordingEvent.STORAGE_ANSWERED): RecordingState.RECORDING,
    (RecordingState.RECORDING, RecordingEvent.CLOSED): RecordingState.COMPLETE,
    (RecordingState.PAUSED, RecordingEvent.CLOSED): RecordingState.COMPLETE,
    (RecordingState.STORAGE_ERROR, RecordingEvent.ABANDONED): RecordingState.INTERRUPTED,
}


def next_state(state: RecordingState, event: RecordingEvent) -> RecordingState:
    """The state after `event`. Raises ValueError when it cannot happen in `state`."""
    try:
        return _TRANSITIONS[state, event]
    except KeyError as error:
        raise ValueError(f"a recording in state {state} cannot be {event}") from error
