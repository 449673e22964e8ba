"""Looks at some of a track's decoded pictures and sounds, for what they show by themselves."""

import numpy as np

from agent.room.consumer import ReceivedAudio, ReceivedVideoFrame
from quality.content import ContentCounts
from quality.content_tally import ContentTally

PICTURE_INTERVAL_S = 1.0  # a black or still picture lasts seconds; each costs about 0.1 ms at 720p
SOUNDS_PASSED = 3  # of four stretches of 10 ms one is looked at: 25 a second, 0.02 ms each


class ContentProbe:
    """Give it all that is decoded of one track; it looks at little of it and counts that."""

    def __init__(self) -> None:
        self._tally = ContentTally()
        self._picture_us: int | None = None
        self._passed = SOUNDS_PASSED

    @property
    def counts(self) -> ContentCounts:
        """What was seen and heard so far."""
        return self._tally.counts

    def take(self, media: ReceivedVideoFrame | ReceivedAudio) -> None:
        """Take what was decoded."""
        if isinstance(media, ReceivedVideoFrame):
            self._picture(media)
        elif self._passed >= SOUNDS_PASSED:
            self._passed = 0
            self._tally.add_sound(np.frombuffer(media.data, np.int16))
        else:
            self._passed += 1

    def _picture(self, frame: ReceivedVideoFrame) -> None:
        before, now = self._picture_us, frame.timestamp_us
        if before is not None and 0 <= now - before < PICTURE_INTERVAL_S * 1e6:
            return
        self._picture_us = now
        luma = np.frombuffer(frame.data, np.uint8, count=frame.width * frame.height)
        self._tally.add_picture(luma.reshape(frame.height, frame.width))
