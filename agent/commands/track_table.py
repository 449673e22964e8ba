"""What is received of a room's tracks, as rows for people."""

from agent.room.state import ReceiveState, TrackState

TRACK_COLUMNS = ("track", "participant", "codec", "layers seen", "packets", "lost", "frames", "score")


def track_row(track: TrackState) -> tuple[object, ...]:
    """A row of TRACK_COLUMNS: what the tap receives, else the participant."""
    received = track.tap or track.subscription
    if received is None:
        return track.name, track.participant_identity, track.mime_type, "-", "-", "-", "-", "-"
    return (
        f"{track.name} ({track.kind})",
        track.participant_identity,
        track.mime_type.partition("/")[2].replace("red", "opus (red)"),
        " ".join(received.layers_seen) or "-",
        received.packets_received,
        received.packets_lost,
        received.frames_received,
        _score(received),
    )


def _score(received: ReceiveState) -> str:
    if received.muted:
        return "muted"
    return "-" if received.score is None else f"{received.score:.0f}"
