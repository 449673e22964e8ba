"""At most six switches a minute of a track, the server's own among them: how far up it may be asked for meanwhile."""

from quality.stats import VideoQuality

MAX_SWITCHES = 6  # in a minute, of a track; limits excepted
SWITCH_WINDOW_S = 60.0

Switches = tuple[tuple[str, float], ...]


def recent(entries: Switches, now: float) -> Switches:
    """Those of the last minute."""
    return tuple(entry for entry in entries if entry[1] > now - SWITCH_WINDOW_S)


def highest_after(switches: int, quality: VideoQuality, *, roomy: bool) -> VideoQuality:
    """How far up a track may be asked for that was switched so often in the last minute, and comes in `quality`.

    No more layers than switches are left to take them away again, and what comes may stay. `roomy`: the way is known to
    carry all that is wanted, so that none has to be left.
    """
    left = MAX_SWITCHES - switches
    if roomy and switches < MAX_SWITCHES:
        return VideoQuality.HIGH
    return max(quality, VideoQuality(min(VideoQuality.HIGH, max(VideoQuality.LOW, left))))
