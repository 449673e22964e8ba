"""Who gets the decoded media of which tracks, and the tasks that hand them out."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from agent.room.consumer import FrameCallback, ReceivedAudio, ReceivedVideoFrame, RemoteSdkTrack, consume
from agent.room.content_probe import ContentProbe
from agent.room.state import TrackState
from agent.room.subscription import TrackKey
from agent.tasks import Tasks
from quality.content import ContentCounts


@dataclass(frozen=True, slots=True)
class _Feed:
    """Who wants a track's media, and what looks at a little of them."""

    take: FrameCallback
    probe: ContentProbe


class Consumers:
    """Callbacks for decoded media: of whatever is published under a name, and feeds of one very track.

    A track has one reader at a time; a feed comes before a callback. A little of what is fed is looked at (`content`).
    """

    def __init__(self) -> None:
        self._tasks = Tasks("consumers")
        self._callbacks: dict[TrackKey, FrameCallback] = {}
        self._feeds: dict[str, _Feed] = {}
        self._consuming: dict[str, asyncio.Task[None]] = {}

    @property
    def fed(self) -> frozenset[str]:
        """The SIDs of the tracks that somebody is fed with."""
        return frozenset(self._feeds)

    def set_callback(self, track: TrackState, callback: FrameCallback | None) -> None:
        """Who gets what is published as `track` is, from its next `start`; None for nobody."""
        if callback is None:
            self._callbacks.pop(TrackKey.of(track), None)
        else:
            self._callbacks[TrackKey.of(track)] = callback

    def feed(self, track_sid: str, callback: FrameCallback) -> Callable[[], bool]:
        """Who gets that very track, from its next `start`.

        The result ends that, and says whether it did: no longer once somebody else is fed.
        """
        probe = ContentProbe()

        def take(media: ReceivedVideoFrame | ReceivedAudio) -> None:
            callback(media)
            probe.take(media)

        feed = self._feeds[track_sid] = _Feed(take, probe)

        def end() -> bool:
            if self._feeds.get(track_sid) is not feed:
                return False
            del self._feeds[track_sid]
            self.stop(track_sid)
            return True

        return end

    def content(self, track_sid: str) -> ContentCounts | None:
        """What a track that somebody is fed with showed so far; None for the others."""
        feed = self._feeds.get(track_sid)
        return feed.probe.counts if feed else None

    def start(self, track: TrackState, sdk_track: RemoteSdkTrack | None) -> None:
        """Read a track anew for whoever wants it; None where its media do not come."""
        feed = self._feeds.get(track.sid)
        callback = feed.take if feed else self._callbacks.get(TrackKey.of(track))
        self.stop(track.sid)
        if callback is not None and sdk_track is not None:
            self._consuming[track.sid] = self._tasks.start(consume(sdk_track, callback), name=f"consume.{track.name}")

    def stop(self, track_sid: str) -> None:
        """Read a track no longer; who wants it is kept."""
        if task := self._consuming.pop(track_sid, None):
            task.cancel()

    def stop_all(self) -> None:
        """Read none."""
        for sid in tuple(self._consuming):
            self.stop(sid)

    async def aclose(self) -> None:
        """Stop reading and forget who wanted what; idempotent."""
        self._callbacks.clear()
        self._feeds.clear()
        self._consuming.clear()
        await self._tasks.aclose()
