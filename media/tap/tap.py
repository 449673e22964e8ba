"""The tap: a hidden participant that receives encoded media and decodes none of it.

It joins over LiveKit's signalling, subscribes to the tracks it is told to, and hands on complete
encoded frames. A connection that breaks is made anew with the same
subscriptions and layers; what was missed meanwhile is a discontinuity in the frames.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import structlog

from media.clock import SteadyClock
from media.e2ee.frame_decryptor import DecryptionOutcome, FrameDecryptor
from media.e2ee.key_provider import KeyProvider
from media.errors import MediaError, TapError, TapUnauthorized
from media.frames import EncodedFrame
from media.rtp.clock_mapping import RtpClockMapping
from media.rtp.inbound_rtp_stats import InboundRtpStats
from media.tap.connection import Connection, LayerIntent
from media.tap.events import (
    ConnectionQualityUpdated,
    LayerQuality,
    LeaveRequested,
    ParticipantsUpdated,
    RemoteParticipant,
    RemoteTrack,
    SignalEvent,
    SpeakersChanged,
    StreamStateUpdated,
    SubscriptionAllowed,
    SubscriptionRefused,
    TokenRefreshed,
)
from media.tap.receiver import Receivers

log = structlog.get_logger(__name__)

FIRST_RETRY_S = 0.1  # a server that restarts is back within a second or two; losing less matters more than load
MAX_RETRY_S = 0.75  # with the join itself, under 2 s from the server's return to media
RETRY_GROWTH = 1.5


class TapState(StrEnum):
    """Where the tap's connection is."""

    NEW = "new"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    CLOSED = "closed"


class TapListener(Protocol):
    """What the tap tells. All calls come from the event loop and must not block."""

    def on_tap_frames(self, track_sid: str, frames: tuple[EncodedFrame, ...]) -> None:
        """Complete frames of a subscribed track, in order."""

    def on_tap_participants(self, participants: dict[str, RemoteParticipant]) -> None:
        """The room's participants, by SID, whenever they or their tracks change."""

    def on_tap_state(self, state: TapState, reason: str) -> None:
        """The connection changed; CLOSED is final."""

    def on_tap_stream_state(self, track_sid: str, *, paused: bool) -> None:
        """The server paused or resumed a track for lack of bandwidth."""

    def on_tap_refused(self, track_sid: str, reason: str) -> None:
        """A subscription is not to be had for now."""

    def on_tap_allowed(self, track_sid: str) -> None:
        """It is again."""


@dataclass(frozen=True, slots=True)
class TapOptions:
    """Where the tap joins. `token` gives a fresh access token for each attempt to join.

    `keys` decrypt tracks with end-to-end encryption. `bandwidth_feedback`: tell the server what the way to us
    carries, so that it sends layers that fit; without, it sends all that was asked for.
    """

    url: str
    token: Callable[[], str]
    keys: KeyProvider = field(default_factory=KeyProvider, repr=False)
    bandwidth_feedback: bool = True


class Tap:
    """One tap in one room. `start`, then `subscribe`; `aclose` leaves. Idempotent to close."""

    def __init__(self, options: TapOptions, listener: TapListener, clock: SteadyClock) -> None:
        self._options = options
        self._listener = listener
        self._clock = clock
        self._participants: dict[str, RemoteParticipant] = {}
        self._intents: dict[str, LayerIntent] = {}
        self._decryptors: dict[str, FrameDecryptor] = {}
        self._speakers: dict[str, bool] = {}
        self._connection_qualities: dict[str, ConnectionQualityUpdated] = {}
        self._receivers = Receivers(random.getrandbits(32), "roomhand", self._decryptor)
        self._connection: Connection | None = None
        self._runner: asyncio.Task[None] | None = None
        self._refreshed_token: str | None = None
        self._may_return = True
        self.state = TapState.NEW

    @property
    def participants(self) -> dict[str, RemoteParticipant]:
        """The room's other participants by SID."""
        return dict(self._participants)

    @property
    def subscribed(self) -> frozenset[str]:
        """SIDs of the tracks that are wanted."""
        return frozenset(self._intents)

    @property
    def given(self) -> frozenset[str]:
        """SIDs of the tracks that the server has given a place to, of those that are wanted."""
        return self.subscribed & self._receivers.sids

    @property
    def speakers(self) -> dict[str, bool]:
        """Whether they speak now, of the participants (by SID) that the server told of since we joined."""
        return dict(self._speakers)

    @property
    def participant_sid(self) -> str:
        """The tap's own participant SID on its present connection; empty without one."""
        return self._connection.joined.participant_sid if self._connection else ""

    @property
    def participant_identity(self) -> str:
        """The identity that the tap joined with on its present connection; empty without one."""
        return self._connection.joined.participant_identity if self._connection else ""

    @property
    def connection_qualities(self) -> dict[str, ConnectionQualityUpdated]:
        """The server's latest opinion, since we joined, of those it told of, by participant SID; of the tap too."""
        return dict(self._connection_qualities)

    @property
    def bandwidth_estimate_bps(self) -> float | None:
        """What the way to the tap carries, bits per second, as told to the server (REMB).

        None while no limit was seen, and where only the server estimates.
        """
        return self._receivers.bandwidth_estimate_bps

    def want_video_bandwidth(self, bps: float) -> None:
        """Say what video would be taken if the way carried it, bits per second: up to there the way is probed.

        Probes are packets that came already, asked for once more; 0, as it is at first, for none.
        """
        self._receivers.wanted_video_bps = bps

    def find_track(self, track_sid: str) -> tuple[RemoteParticipant, RemoteTrack] | None:
        """A track and who publishes it."""
        for participant in self._participants.values():
            for track in participant.tracks:
                if track.sid == track_sid:
                    return participant, track
        return None

    async def start(self) -> None:
        """Join. Raises TapUnauthorized, TapUnreachable or TapError; later losses are mended by itself."""
        connection = await self._join()
        self._runner = asyncio.create_task(self._run(connection), name="tap.run")

    async def subscribe(
        self, track_sid: str, quality: LayerQuality = LayerQuality.HIGH, *, max_fps: int | None = None
    ) -> None:
        """Receive a track from now on, and again after reconnects. `max_fps`: see `set_max_fps`."""
        self._intents.setdefault(track_sid, _intent(quality, max_fps))
        if self._connection:
            await self._connection.subscribe([track_sid])

    async def unsubscribe(self, track_sid: str) -> None:
        """Receive a track no longer."""
        if self._intents.pop(track_sid, None) is None:
            return
        if self._connection:
            await self._connection.unsubscribe(track_sid)
        self._end_stream(track_sid)

    def _end_stream(self, track_sid: str) -> None:
        self._decryptors.pop(track_sid, None)
        last_frames = self._receivers.end_track(track_sid, self._clock.now())
        if last_frames:
            self._listener.on_tap_frames(track_sid, last_frames)

    async def set_quality(self, track_sid: str, quality: LayerQuality) -> None:
        """Ask for a simulcast layer of a subscribed track."""
        await self._change(track_sid, quality, self._intended(track_sid).max_fps)

    async def set_max_fps(self, track_sid: str, max_fps: int | None) -> None:
        """Ask for no more frames a second of a subscribed video than `max_fps` (1 or more); None: for all.

        The server leaves temporal layers out: of those that reach 0.9 of `max_fps` it takes the fewest, so that
        25, 12.5 and 6.3 frames/s are what a camera of 25 has. A video without such layers comes whole.
        """
        await self._change(track_sid, self._intended(track_sid).quality, max_fps)

    def _intended(self, track_sid: str) -> LayerIntent:
        if track_sid not in self._intents:
            raise TapError(f"track {track_sid} is not subscribed by the tap")
        return self._intents[track_sid]

    async def _change(self, track_sid: str, quality: LayerQuality, max_fps: int | None) -> None:
        self._intents[track_sid] = _intent(quality, max_fps)
        if self._connection:
            await self._connection.apply_layer(track_sid)

    def request_keyframe(self, track_sid: str) -> None:
        """Ask the sender of a track for a sync sample."""
        self._receivers.request_keyframe(track_sid)

    def quality(self, track_sid: str) -> LayerQuality | None:
        """The layer asked for; None for a track that is not subscribed."""
        intent = self._intents.get(track_sid)
        return intent.quality if intent else None

    def max_fps(self, track_sid: str) -> int | None:
        """The frames a second asked for at most; None for all, and for a track that is not subscribed."""
        intent = self._intents.get(track_sid)
        return intent.max_fps if intent else None

    def stats(self) -> dict[str, InboundRtpStats]:
        """Receive statistics by track SID."""
        return self._receivers.stats(self._clock.now())

    def clock_mappings(self) -> dict[str, RtpClockMapping]:
        """How each track's RTP time maps to Unix time, by track SID."""
        return self._receivers.clock_mappings(self._clock.now())

    def undecryptable(self) -> dict[str, DecryptionOutcome]:
        """The subscribed tracks whose frames cannot be decrypted now, and why."""
        return {sid: item.failure for sid, item in self._decryptors.items() if item.failure is not None}

    def _decryptor(self, track_sid: str) -> FrameDecryptor | None:
        found = self.find_track(track_sid)
        if found is None or not found[1].encrypted:
            return None
        trailer = self._connection.joined.sif_trailer if self._connection else b""
        decryptor = FrameDecryptor(self._options.keys, found[0].identity, trailer)
        self._decryptors[track_sid] = decryptor
        return decryptor

    async def aclose(self) -> None:
        """Leave the room; what has arrived by then is handed on first."""
        self._may_return = False
        runner, self._runner = self._runner, None
        connection, self._connection = self._connection, None
        if connection:
            await connection.aclose()
        if runner:
            runner.cancel()
            await asyncio.gather(runner, return_exceptions=True)
        self._move(TapState.CLOSED, "left")

    async def _join(self) -> Connection:
        token = self._refreshed_token or self._options.token()
        connection = await Connection.open(
            self._options.url,
            token,
            self,
            self._receivers,
            self._intents,
            self._clock,
            bandwidth_feedback=self._options.bandwidth_feedback,
        )
        self._connection = connection
        for decryptor in self._decryptors.values():
            decryptor.sif_trailer = connection.joined.sif_trailer
        self._speakers.clear()
        self._connection_qualities.clear()
        self._replace_participants(connection.joined.participants)
        known = {track.sid for item in self._participants.values() for track in item.tracks}
        for track_sid in [sid for sid in self._intents if sid not in known]:
            del self._intents[track_sid]
            self._end_stream(track_sid)
        await connection.subscribe(tuple(self._intents))
        self._move(TapState.CONNECTED, "joined")
        return connection

    async def _run(self, connection: Connection) -> None:
        while True:
            reason = await connection.run()
            if self._connection is connection:
                self._connection = None
            if self._may_return:
                self._move(TapState.RECONNECTING, reason)
            await connection.aclose()
            if not self._may_return:
                self._move(TapState.CLOSED, reason)
                return
            rejoined = await self._rejoin()
            if rejoined is None:
                return
            connection = rejoined

    async def _rejoin(self) -> Connection | None:
        wait_s = FIRST_RETRY_S
        while True:
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))
            try:
                return await self._join()
            except TapUnauthorized as error:
                if self._refreshed_token is not None:
                    self._refreshed_token = None
                    continue
                log.error("tap_rejoin_refused", error=str(error))
                self._move(TapState.CLOSED, str(error))
                return None
            except MediaError as error:
                log.info("tap_rejoin_failed", error=str(error), retry_s=round(wait_s, 2))
            except Exception:  # what cannot be understood now is met again, or is gone, at the next attempt
                log.exception("tap_rejoin_failed", retry_s=round(wait_s, 2))
            wait_s = min(MAX_RETRY_S, wait_s * RETRY_GROWTH)

    def _move(self, state: TapState, reason: str) -> None:
        if self.state in {state, TapState.CLOSED}:
            return
        self.state = state
        log.info("tap_state", state=state.value, reason=reason)
        self._listener.on_tap_state(state, reason)

    # What the connection tells

    def on_frames(self, track_sid: str, frames: tuple[EncodedFrame, ...]) -> None:
        """Frames from the current connection; what is not wanted any more is not handed on."""
        if track_sid in self._intents:
            self._listener.on_tap_frames(track_sid, frames)

    def on_signal(self, event: SignalEvent) -> None:
        """Signalling that concerns more than the connection itself."""
        match event:
            case ParticipantsUpdated():
                self._update_participants(event.participants)
            case StreamStateUpdated():
                self._receivers.note_pause(event.track_sid)
                self._listener.on_tap_stream_state(event.track_sid, paused=event.paused)
            case SpeakersChanged():
                self._speakers |= event.speaking
            case SubscriptionRefused():
                self._listener.on_tap_refused(event.track_sid, event.reason)
            case SubscriptionAllowed():
                self._listener.on_tap_allowed(event.track_sid)
            case TokenRefreshed():
                self._refreshed_token = event.token
            case LeaveRequested():
                self._may_return = self._may_return and event.can_reconnect
            case ConnectionQualityUpdated():
                self._connection_qualities[event.participant_sid] = event
            case _:
                log.debug("tap_signal", signal=type(event).__name__)

    def _replace_participants(self, participants: tuple[RemoteParticipant, ...]) -> None:
        self._participants = {item.sid: item for item in participants if item.active}
        self._receivers.retain_participants(self._participants)
        self._listener.on_tap_participants(self.participants)

    def _update_participants(self, participants: tuple[RemoteParticipant, ...]) -> None:
        for item in participants:
            self._note_mutes(item)
            if not item.active:
                self._participants.pop(item.sid, None)
                self._connection_qualities.pop(item.sid, None)
            elif self._connection is None or item.sid != self._connection.joined.participant_sid:
                self._participants[item.sid] = item
        self._receivers.retain_participants(self._participants)
        self._listener.on_tap_participants(self.participants)

    def _note_mutes(self, participant: RemoteParticipant) -> None:
        """What a mute takes is no freeze."""
        known = self._participants.get(participant.sid)
        muted = {track.sid: track.muted for track in known.tracks} if known else {}
        for track in participant.tracks:
            if muted.get(track.sid, track.muted) != track.muted:
                self._receivers.note_pause(track.sid)


def _intent(quality: LayerQuality, max_fps: int | None) -> LayerIntent:
    if max_fps is not None and max_fps < 1:
        raise TapError(f"{max_fps} frames a second are no video; ask for 1 or more, or for all (None)")
    return LayerIntent(quality, max_fps)
