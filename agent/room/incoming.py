"""Text streams and data tracks of others, read to their end."""

import asyncio
from fnmatch import fnmatchcase

import structlog
from livekit import rtc

from agent.room.data_limits import MAX_TEXT_CHARACTERS
from agent.room.events import DataTrackFrame, DataTrackPublished, DataTrackUnpublished, TextReceived
from agent.room.wiring import Emit
from agent.tasks import Tasks

log = structlog.get_logger(__name__)

DATA_TRACK_BUFFER_FRAMES = 64  # the SDK drops the oldest beyond; data tracks are lossy by design


class IncomingData:
    """Reads what the topics and data-track patterns ask for, and emits it whole."""

    def __init__(
        self,
        room: rtc.Room,
        emit: Emit,
        tasks: Tasks,
        *,
        text_topics: tuple[str, ...],
        data_tracks: tuple[str, ...],
    ) -> None:
        self._emit = emit
        self._tasks = tasks
        self._data_tracks = data_tracks
        for topic in dict.fromkeys(text_topics):
            room.register_text_stream_handler(topic, self._on_text_stream)
        room.on("data_track_published", self._on_data_track)
        room.on("data_track_unpublished", self._on_data_track_gone)

    def _on_text_stream(self, reader: rtc.TextStreamReader, identity: str) -> None:
        self._tasks.start(self._read_text(reader, identity), name=f"text.{reader.info.stream_id}")

    async def _read_text(self, reader: rtc.TextStreamReader, identity: str) -> None:
        info = reader.info
        parts: list[str] = []
        length = 0
        try:
            async for part in reader:
                length += len(part)
                if length > MAX_TEXT_CHARACTERS:
                    log.warning("text_too_long", participant_identity=identity, topic=info.topic)
                    return
                parts.append(part)
        except rtc.StreamError as error:
            log.warning("text_cut_off", participant_identity=identity, topic=info.topic, error=str(error))
            return
        finally:
            reader.close()
        self._emit(TextReceived(identity, info.topic, "".join(parts), info.stream_id, dict(info.attributes or {})))

    def _on_data_track(self, track: rtc.RemoteDataTrack) -> None:
        self._emit(DataTrackPublished(track.publisher_identity, track.info.sid, track.info.name))
        if any(fnmatchcase(track.info.name, pattern) for pattern in self._data_tracks):
            self._tasks.start(self._read_data_track(track), name=f"data_track.{track.info.sid}")

    def _on_data_track_gone(self, sid: str) -> None:
        self._emit(DataTrackUnpublished(sid))

    async def _read_data_track(self, track: rtc.RemoteDataTrack) -> None:
        info, identity = track.info, track.publisher_identity
        stream = track.subscribe(buffer_size=DATA_TRACK_BUFFER_FRAMES)
        try:
            async for frame in stream:
                self._emit(DataTrackFrame(identity, info.sid, info.name, frame.payload, frame.user_timestamp))
        except rtc.SubscribeDataTrackError as error:
            log.warning("data_track_failed", participant_identity=identity, name=info.name, error=error.message)
        finally:
            await asyncio.shield(stream.aclose())
