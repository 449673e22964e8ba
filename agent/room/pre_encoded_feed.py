"""Feeding a track that is encoded already: paced, led by the way out's rate, and by requests for key frames."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import structlog
from livekit import rtc

from agent.room import convert
from agent.room.publish_options import TrackPlan
from agent.room.pump import Pump, PumpedFeed
from media.sources.pacer import Pacer
from media.sources.source import AccessUnit, PreEncodedSource
from quality import pre_encoded
from quality.pre_encoded import Encoded, Frame, PreEncodedState, Told

log = structlog.get_logger(__name__)

LATE_LIMIT_S = 0.5  # a picture refers to the one before: what is later than this is left out up to the next key frame
NEVER_S = 1e9
LOOK_TIMEOUT_S = 0.2  # the native layer answers in milliseconds, or not at all while it reconnects


class PreEncodedFeed(PumpedFeed[AccessUnit]):
    """See `feeding.Feed`. What cannot be sent as the way out asks for it is logged and counted (`counted`).

    A source that is encoded already makes no key frame on request: its next one answers. `encoded` looks what
    went through the encoder so far, and raises RuntimeError where that is not told.
    """

    def __init__(
        self,
        plan: TrackPlan,
        source: PreEncodedSource,
        native: rtc.EncodedVideoSource,
        *,
        start: float,
        encoded: Callable[[], Awaitable[Encoded]],
    ) -> None:
        self._plan = plan
        self._native = native
        self._encoded = encoded
        self._encoded_before_key: Encoded | None = None
        self._given_since_key = 0
        self._codec = convert.sdk_codec(plan.video_codec)
        self._state = PreEncodedState()
        pacer = Pacer(start=start, late_limit_s=NEVER_S)
        super().__init__(Pump(name=plan.name, read=source.read_access_unit, send=self._send, pacer=pacer))
        self.counted: Counter[str] = Counter()

    def set_muted(self, *, muted: bool) -> None:
        """See Feed; what comes after begins with a key frame."""
        super().set_muted(muted=muted)
        self._state = pre_encoded.muted(self._state)

    def begun_anew(self) -> None:
        """It was published anew, after a reconnect or to restart it."""
        self._state = pre_encoded.begun_anew(self._state)

    async def _send(self, unit: AccessUnit, capture_time: float) -> None:
        if unit.key:
            self._encoded_before_key, self._given_since_key = await self._look(), 0
            if self._pump.stopping:
                return  # feeding a room that is gone by now can abort the process
        now = asyncio.get_running_loop().time()
        self._take_feedback(now)
        if now - capture_time > LATE_LIMIT_S:
            self._state = pre_encoded.broken(self._state)
        frame = Frame(len(unit.data), key=unit.key, droppable=unit.droppable)
        self._state, admitted = pre_encoded.admit(self._state, frame, now)
        if not admitted:
            self.counted["frames_left_out"] += 1
            return
        frame_type = rtc.EncodedFrameType.ENCODED_FRAME_KEY if unit.key else rtc.EncodedFrameType.ENCODED_FRAME_DELTA
        accepted = self._native.capture_frame(
            rtc.EncodedVideoFrame(
                unit.data, unit.width, unit.height, self._codec, frame_type, round(capture_time * 1e6)
            )
        )
        self._given_since_key += accepted
        if not accepted:
            self._state = pre_encoded.broken(self._state)
            self.counted["frames_refused"] += 1

    async def encoder_dropped(self) -> None:
        """Frames that were fed were not sent: begin again with a key frame, and send less where it is too much.

        What is told so late may be mended by now, by a key frame that was sent after them.
        """
        self.counted["encoder_dropped"] += 1
        before, given = self._encoded_before_key, self._given_since_key
        mended = pre_encoded.whole_since_key(before, given, await self._look())
        now = asyncio.get_running_loop().time()
        self._state, told = pre_encoded.encoder_dropped(self._state, now, mended=mended)
        self._tell(told)

    async def _look(self) -> Encoded | None:
        """What was encoded so far; None where that is not known."""
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_S):
                return await self._encoded()
        except (TimeoutError, RuntimeError):
            return None

    def _take_feedback(self, now: float) -> None:
        asked = self._native.take_feedback()
        target = asked.rate_control.target_bitrate_bps if asked.rate_control else None
        self._state, told = pre_encoded.feedback(
            self._state, now, target_bps=target, key_frame_requested=asked.keyframe_requested
        )
        self._tell(told)

    def _tell(self, told: tuple[Told, ...]) -> None:
        for each in told:
            self.counted[each.value] += 1
            if each is Told.KEY_FRAME_REQUESTED:
                continue  # each new subscriber asks for one
            rates = pre_encoded.rates_bps(self._state)
            log.warning(
                "pre_encoded",
                change=each.value,
                track=self._plan.name,
                target_bps=round(self._state.target_bps or 0),
                source_bps={mode.value: round(rate) for mode, rate in rates.items()},
            )
