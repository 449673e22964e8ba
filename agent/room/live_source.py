"""A source that a program pushes its own sound and pictures into, while they are published."""

import asyncio
import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from agent.errors import InvalidSettings
from agent.room import live_pictures, live_sound
from agent.room.live_pictures import PictureQueue, Shown, checked_pixels, i420_of
from agent.room.live_sound import SoundQueue, checked_samples
from media.sources.pacer import Wait
from media.sources.source import AudioFormat, DecodedAudio, DecodedVideoFrame, VideoFormat

T = TypeVar("T")

# What is taken from here waits for its time, and then in the native layer (feeding.AUDIO_QUEUE_MS at most).
ON_ITS_WAY_S = 0.15
# Twice so long: the sound was left out of what is published, or withdrawn. A process that stood still once goes on.
UNPLAYED_S = 2.5
ENDED_PUSH_S = 0.1  # who pushes in a loop must not keep the event loop from everything else


class _Turn:
    """Of one who pushes sound, in whatever event loop that is."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self.cut = False

    async def wait(self) -> None:
        await self._woken.wait()
        self._woken.clear()

    def wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # that loop was closed: nobody waits
            self._loop.call_soon_threadsafe(self._woken.set)


class LiveSource:
    """Pictures, sound or both that a program makes; `publish` it, and push. One publication plays it, once.

    All methods may be called from any thread, `push_audio` and `drain` in any event loop. Without sound there is
    silence, and what is pushed then is heard at once. Without a new picture the last one is shown again, at half of
    `fps`; before the first one nothing is sent. Raises InvalidSettings for a format that cannot be sent.
    """

    def __init__(self, *, video: VideoFormat | None = None, audio: AudioFormat | None = None) -> None:
        if video is None and audio is None:
            raise InvalidSettings("a live source has neither picture nor sound; give video, audio or both")
        if video:
            live_pictures.check_format(video)
        if audio:
            live_sound.check_format(audio)
        self._video, self._audio = video, audio
        self._pictures = PictureQueue(video) if video else None
        self._sound = SoundQueue(audio) if audio else None
        self._changed = threading.Condition()
        self._pushing: deque[_Turn] = deque()
        self._draining: list[_Turn] = []
        self._began: float | None = None
        self._ended = self._closed = False
        self._i420 = b""

    @property
    def video(self) -> VideoFormat | None:
        """As given."""
        return self._video

    @property
    def audio(self) -> AudioFormat | None:
        """As given."""
        return self._audio

    @property
    def ended(self) -> bool:
        """Whether nothing more can be pushed: after `end`, or as its publication or the room is over."""
        return self._ended

    async def push_audio(self, samples: npt.NDArray[np.int16]) -> bool:
        """Have int16 `samples` heard after those pushed before: (samples,) for mono, else (samples, channels).

        Any length; waits while a second of sound is queued. False where not all of it was taken: `clear` came, the
        source `ended` (then after 0.1 s at most), or nobody plays its sound. Raises InvalidSettings.
        """
        if self._audio is None or self._sound is None:
            raise InvalidSettings("this live source has no sound; make it with audio=AudioFormat(...)")
        rest, turn = checked_samples(samples, self._audio), _Turn()
        with self._changed:
            self._pushing.append(turn)
        unplayed = 0
        try:
            while not (self._ended or turn.cut or unplayed == 2):
                rest = rest[self._push_some(turn, rest) :]
                if not len(rest):
                    return True
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(UNPLAYED_S):
                        await turn.wait()
                unplayed = unplayed + 1 if self._is_unplayed() else 0
        finally:
            with self._changed:
                self._pushing.remove(turn)
                self._wake_waiting()
        if self._ended:
            await asyncio.sleep(min(len(rest) / self._audio.sample_rate, ENDED_PUSH_S))
        return False

    def _push_some(self, turn: _Turn, rest: npt.NDArray[np.int16]) -> int:
        assert self._sound is not None
        with self._changed:
            if self._ended or turn.cut or self._pushing[0] is not turn:
                return 0
            taken = self._sound.push(rest, self._now())
            self._changed.notify_all()
            return taken

    def _is_unplayed(self) -> bool:
        with self._changed:
            return self._sound is not None and self._sound.untaken_s(self._now()) > UNPLAYED_S

    def push_video(self, picture: npt.NDArray[np.uint8], *, with_sound: bool = False) -> bool:
        """Show a picture: uint8, RGB (height, width, 3) or I420 (height * 3 // 2, width), of the format's size.

        At once, in place of one that was not shown yet (then False); `with_sound`: with the sound that is pushed next,
        after all that is queued (False where too many wait: it is dropped). False too once the source `ended`.
        Never blocks. Raises InvalidSettings.
        """
        if self._video is None or self._pictures is None:
            raise InvalidSettings("this live source has no picture; make it with video=VideoFormat(...)")
        if with_sound and self._sound is None:
            raise InvalidSettings("this live source has no sound that a picture could come with")
        pixels = checked_pixels(picture, self._video)
        with self._changed:
            if self._ended:
                return False
            if with_sound and self._sound:
                taken = self._pictures.push_with_sound(pixels, self._sound.pushed)
            else:
                taken = self._pictures.push(pixels)
            self._changed.notify_all()
        return taken

    def clear(self) -> None:
        """Drop sound and pictures that are queued, and what others wait to push; the last picture stays.

        Sound of the next 0.1 s or so is on its way already, and still heard.
        """
        with self._changed:
            if self._sound:
                self._sound.clear()
            if self._pictures:
                self._pictures.clear()
            self._cut_pushes()
            self._wake_waiting()

    async def drain(self) -> None:
        """Until the sound that is queued now has been heard or dropped."""
        if self._sound is None:
            return
        turn = _Turn()
        with self._changed:
            mark = self._sound.pushed
            self._draining.append(turn)
        try:
            while self._sound.passed < mark and not self._closed:
                await turn.wait()
        finally:
            with self._changed:
                self._draining.remove(turn)
        if not self._closed:
            await asyncio.sleep(ON_ITS_WAY_S)

    def end(self) -> None:
        """Nothing more comes: the publication ends once all is heard and seen. Idempotent."""
        with self._changed:
            self._ended = True
            self._cut_pushes()
            self._changed.notify_all()

    # What the publisher calls

    def read_video(self) -> DecodedVideoFrame | None:
        """See Source; waits for a picture."""
        pictures, video = self._pictures, self._video
        if pictures is None or video is None:
            return None
        shown = self._next(lambda: self._take_picture(pictures))
        if shown is None:
            return None
        if shown.anew:
            self._i420 = i420_of(shown.pixels)
        return DecodedVideoFrame(video.width, video.height, self._i420, shown.pts_s)

    def _take_picture(self, pictures: PictureQueue) -> Shown | Wait | None:
        now, sound = self._now(), self._sound
        over = self._ended and (sound is None or sound.is_over(now))
        return pictures.take(now, sound.time_of if sound else live_pictures.no_sound, ended=over)

    def leave_out_video(self, before_s: float) -> None:
        """See Source: nothing is prepared ahead here."""

    def read_audio(self) -> DecodedAudio | None:
        """See Source; waits for sound, or for the time of silence."""
        sound = self._sound
        if sound is None:
            return None
        chunk = self._next(lambda: sound.take(self._now(), ended=self._ended))
        with self._changed:
            self._wake_waiting()
            self._changed.notify_all()  # for pictures that wait for this sound
        return chunk

    def close(self) -> None:
        """See Source; whoever waits for something gets it."""
        self.end()
        with self._changed:
            self._closed = True
            self._wake_waiting()
            self._changed.notify_all()

    def _next(self, take: Callable[[], T | Wait | None]) -> T | None:
        with self._changed:
            if self._began is None:
                self._began = time.monotonic()
            while not self._closed:
                taken = take()
                if not isinstance(taken, Wait):
                    return taken
                self._changed.wait(None if math.isinf(taken.delay_s) else taken.delay_s)
        return None

    def _now(self) -> float:
        return 0.0 if self._began is None else time.monotonic() - self._began

    def _wake_waiting(self) -> None:
        for turn in (*islice(self._pushing, 1), *self._draining):  # of those who push it is the first one's turn
            turn.wake()

    def _cut_pushes(self) -> None:
        for turn in self._pushing:
            turn.cut = True
            turn.wake()
