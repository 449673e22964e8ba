"""The quality of what is recorded: judged where it is received, written beside it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

import structlog

from agent.errors import QualityNotFound
from agent.quality_report import add_line, build_report, read_quality_report, read_samples, write_quality_report
from agent.room.counters import RoomCounters
from agent.room.decoded_tracks import DecodedTracks
from agent.room.quality_log import QualityLog
from agent.room.quality_monitor import JudgedTrack, QualityMonitor, QualityTick, TickListener
from agent.room.quality_surroundings import TapSurroundings
from agent.room.recorder_events import RecorderEvent
from agent.room.state import ReceiveState
from agent.room.tap_snapshots import Heard, tap_snapshots
from media.errors import MediaError
from media.record.entries import TimelineEvent
from media.record.reader import QUALITY_NAME, read_recording
from media.record.recorder import Recording
from media.tap.tap import Tap
from quality.participants import ParticipantJudgement, judge_participants
from quality.report import ReportBuilder

log = structlog.get_logger(__name__)

PAUSE_S = 2.0  # who goes on sooner wants the next key frame at once, and no report beside it


class RecordingQuality:
    """Judges what the tap receives, or takes the participant's judgements of tracks that are decoded.

    A fault in judging is logged and costs no media.
    """

    def __init__(self, tap: Tap, decoded: DecodedTracks | None, tell: Callable[[RecorderEvent], None]) -> None:
        self._tap = tap
        self._decoded = decoded
        self._recording: Recording | None = None
        self._builder: ReportBuilder | None = None
        self._waiting: list[TimelineEvent] | None = []
        self._log: QualityLog | None = None
        self._writing = asyncio.Lock()
        self._monitor = QualityMonitor("tap", TapSurroundings(tap), tell, repaired=True)
        self._monitor.add_listener(self.take)

    def add_listener(self, listener: TickListener) -> None:
        """Have `listener` called with all judgements of what the tap receives."""
        self._monitor.add_listener(listener)

    def start(self, recording: Recording) -> None:
        """Write into `recording` from now on."""
        self._recording = recording

        def append(event: TimelineEvent) -> None:
            recording.append_event(event, QUALITY_NAME)
            self._gather(event)

        self._log = QualityLog(append)

    async def load_earlier(self, before: float) -> None:
        """Take what earlier writers left, before that Unix time, into the report. Of a day it takes seconds."""
        assert self._recording is not None, "started first"
        path, started_at = self._recording.path, self._recording.started_at
        try:
            builder = await asyncio.to_thread(read_samples, path, started_at, before)
        except MediaError as error:
            log.warning("quality_samples_unreadable", code=error.code, error=str(error))
            self._waiting = None
            return
        for event in self._waiting or ():
            add_line(builder, asdict(event))
        self._builder, self._waiting = builder, None

    def _gather(self, event: TimelineEvent) -> None:
        if self._builder is not None:
            add_line(self._builder, asdict(event))
        elif self._waiting is not None:
            self._waiting.append(event)  # some lines a second, for as long as the earlier ones are being read

    def sample(self, is_stream_paused: Callable[[str], bool], heard: Heard, now: float) -> None:
        """Judge what came in the last second."""
        try:
            self._monitor.take(tap_snapshots(self._tap, is_stream_paused, heard, now), now)
        except Exception:
            # The recording must not end with its judge.
            log.exception("recording_quality_failed")

    def take_participant(self, tick: QualityTick) -> None:
        """What the participant's connection receives, of which the decoded tracks are recorded."""
        if self._decoded is None:
            return
        recorded = self._decoded.sids
        tracks = tuple(each for each in tick.tracks if each.label.track_sid in recorded)
        self.take(replace(tick, tracks=tracks, participants=_judged_by(tracks, tick)))

    def take(self, tick: QualityTick) -> None:
        """Write what was judged in one second; nothing while the recording is paused."""
        if self._log is not None and self._recording is not None and not self._recording.paused:
            self._log.take(tick)

    def flush(self, now: float) -> None:
        """Write what is gathered, before a pause or the end."""
        if self._log is not None:
            self._log.flush(now)

    async def report_pause(self) -> None:
        """As `write_report`, of a recording that is still paused in a moment."""
        await asyncio.sleep(PAUSE_S)
        if self._recording is not None and self._recording.paused:
            await self.write_report()

    async def write_report(self) -> None:
        """Put the report beside the recording. It can be made again from the samples: a failure is only logged."""
        async with self._writing:
            await self._write_report()

    async def _write_report(self) -> None:
        if self._recording is None:
            return
        path = self._recording.path
        try:
            view = await asyncio.to_thread(read_recording, path)
            if self._builder is None:
                report = await asyncio.to_thread(read_quality_report, view)
            else:
                # Of a copy: samples go on coming, and a room with many tracks takes seconds.
                report = await asyncio.to_thread(build_report, view, self._builder.copy())
            await asyncio.to_thread(write_quality_report, path, report)
        except QualityNotFound:
            return  # no track was received
        except MediaError as error:
            log.warning("quality_report_failed", code=error.code, error=str(error))

    def receive_state(self, track_sid: str) -> ReceiveState | None:
        """What the tap receives of a track."""
        return self._monitor.receive_state(track_sid)

    def counters(self) -> RoomCounters:
        """Totals for metrics."""
        return self._monitor.counters()


def _judged_by(tracks: Sequence[JudgedTrack], tick: QualityTick) -> tuple[ParticipantJudgement, ...]:
    """The tick's participants: others by their tracks among `tracks`, this end as it is, like the server judges it."""
    publisher_of = {each.label.track_sid: each.label.participant_identity for each in tracks}
    told = {each.participant_identity: each.server for each in tick.participants if each.server is not None}
    others = judge_participants([each.judgement for each in tracks], publisher_of, "", told, tick.at)
    return (*others, *(each for each in tick.participants if each.own))
