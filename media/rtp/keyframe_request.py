"""When to ask the sender of a video track for a key frame (PLI, RFC 4585 section 6.3.1)."""

# Until there is a first sync sample nothing can be shown; livekit/egress asks this often, too.
START_INTERVAL_S = 0.2
# After a loss: livekit-server stops retransmitting once it is asked for a key frame, and each one
# costs all subscribers bitrate.
LOSS_INTERVAL_S = 1.0


class KeyframeRequester:
    """Wants a key frame from the start and after a loss, until a sync sample comes.

    Asks only while media comes: a muted or paused sender could not answer.
    """

    __slots__ = ("_due", "_interval_s", "_last_request", "_media")

    def __init__(self) -> None:
        self._due: float | None = None
        self._interval_s = START_INTERVAL_S
        self._last_request = float("-inf")
        self._media = False

    @property
    def deadline(self) -> float | None:
        """When `poll` would ask; None when nothing is wanted or no media came since the last ask."""
        return self._due if self._media else None

    def start(self, now: float) -> None:
        """The first packet came: a sync sample is expected by itself, but not waited for long."""
        self._interval_s = START_INTERVAL_S
        self._due = now + START_INTERVAL_S

    def sync_sample_started(self, now: float) -> None:
        """The first packet of a sync sample came: a large one takes time, and so does what it lost."""
        if self._due is not None:
            self._due = max(self._due, now + LOSS_INTERVAL_S)

    def unusable_frame(self, now: float) -> None:
        """A frame came that needs a sync sample before it, and there was none since the start."""
        self._interval_s = START_INTERVAL_S
        self._due = max(now, self._last_request + START_INTERVAL_S)

    def broken_frame(self, now: float) -> None:
        """A frame was lost; those that refer to it are damaged until a sync sample."""
        if self._due is None:
            self._interval_s = LOSS_INTERVAL_S
            self._due = max(now, self._last_request + LOSS_INTERVAL_S)

    def sync_sample(self) -> None:
        """A sync sample came: nothing is wanted."""
        self._due = None

    def media_arrived(self) -> None:
        """Packets came since the last poll."""
        self._media = True

    def poll(self, now: float) -> bool:
        """Whether to ask now; a True counts as asked."""
        if self._due is None or now < self._due or not self._media:
            return False
        self._last_request = now
        self._due = now + self._interval_s
        self._media = False
        return True
