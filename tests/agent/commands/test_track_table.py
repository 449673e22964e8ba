"""What the table after a visit says of a track."""

from dataclasses import replace

import pytest

from agent.commands.track_table import TRACK_COLUMNS, track_row
from agent.room.state import ReceiveState, TrackState

CAMERA = TrackState("TR_1", "camera", "video", "camera", "ada", "video/VP8", False, False, 640, 360)


@pytest.mark.parametrize(
    ("received", "score"),
    [
        (None, "-"),
        (ReceiveState(), "-"),
        (ReceiveState(score=87.6), "88"),
        (ReceiveState(score=100.0, muted=True), "muted"),
    ],
)
def test_the_score_of_what_is_muted_says_nothing(received: ReceiveState | None, score: str) -> None:
    row = track_row(replace(CAMERA, tap=received))
    assert dict(zip(TRACK_COLUMNS, row, strict=True))["score"] == score
