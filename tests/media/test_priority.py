"""No test leaves the others with a real-time priority."""

import os

from media.frames import Codec
from tests.media.export.recordings import encode_video
from tests.media.priority import kept_priority


def test_encoding_av1_leaves_the_priority_as_it_was() -> None:
    before = os.sched_getscheduler(0)
    assert encode_video(Codec.AV1, 0.0, 0.4, (64, 64))
    assert os.sched_getscheduler(0) == before


def test_what_a_block_did_is_taken_back() -> None:
    before = os.sched_getscheduler(0)
    other = os.SCHED_BATCH if before != os.SCHED_BATCH else os.SCHED_OTHER
    with kept_priority():
        os.sched_setscheduler(0, other, os.sched_param(0))
        assert os.sched_getscheduler(0) == other
    assert os.sched_getscheduler(0) == before
