"""Whether audio that is not muted carries no sound: by what is heard of it, or by the size of its packets."""

from quality.pattern_series import ENOUGH, Figure, Finding, Presence, View, covered_s, within
from quality.stats import TrackKind
from quality.window import Window

SILENT_S = 10.0
SILENT_PACKET_BYTES = 12.0  # digital silence is 3 bytes of Opus, 8 with RED; a quiet room is 20 and more
# Without pauses there are 50 a second. In one (DTX) libwebrtc sends two each 0.42 s: what the room sounds like, and a
# byte that says that nothing follows. A quiet room then has means of 9 to 12 bytes at 12 kb/s, digital silence 2 to 3.
PAUSED_PACKETS_PER_S = 10.0
REPORTED_S = 7.0  # livekit-server passes a report on every 3 s, and one of them may be lost
# A microphone that gives nothing has the last of 16 bits at most (-90); a quiet room behind noise suppression is above.
DEAD_DBFS = -80.0
ALIVE_DBFS = -70.0


def silent_track(view: View) -> Finding:
    """Audio that is not muted carries no sound: nothing is heard in it where some of it is decoded, else packets of
    digital silence; or a live sender without packets."""
    if view.latest.kind is not TrackKind.AUDIO:
        return Finding(Presence.ABSENT)
    windows = within(view.samples, view.now, SILENT_S)
    return _silent_by_level(view, windows) or _silent_by_packets(view, windows)


def _silent_by_level(view: View, windows: tuple[Window, ...]) -> Finding | None:
    """What is heard; None where that does not tell. `reference` of what is told here is a level, and not 0."""
    levels = [(window, window.content.content.level_dbfs) for window in windows]
    heard = [(window, level) for window, level in levels if level is not None]
    if not heard:
        return _unheard(view, windows) if view.reference else None
    loudest = max(level for _, level in heard)
    figures = (Figure("level_dbfs", loudest), Figure("span_s", covered_s(windows)))
    if loudest > ALIVE_DBFS:
        return Finding(Presence.ABSENT, f"there is sound again, {loudest:.0f} dBFS", figures)
    if loudest <= DEAD_DBFS and covered_s(tuple(window for window, _ in heard)) >= ENOUGH * SILENT_S:
        reason = f"not muted, but silent for {SILENT_S:.0f} s ({loudest:.0f} dBFS)"
        return Finding(Presence.PRESENT, reason, figures, reference=loudest)
    by_packets = _silent_by_packets(view, windows)
    return Finding(Presence.UNCLEAR) if by_packets.presence is Presence.ABSENT else by_packets


def _unheard(view: View, windows: tuple[Window, ...]) -> Finding:
    """What was told of a level no size of packets takes back; but it says nothing of what nobody listens to."""
    by_packets = _silent_by_packets(view, windows)
    if by_packets.presence is not Presence.ABSENT:
        return by_packets
    if covered_s(windows) < ENOUGH * SILENT_S:
        return Finding(Presence.UNCLEAR)
    return Finding(Presence.ABSENT, f"not listened to for {SILENT_S:.0f} s", by_packets.figures)


def _silent_by_packets(view: View, windows: tuple[Window, ...]) -> Finding:
    packets, size = sum(window.packets for window in windows), sum(window.bytes for window in windows)
    mean = size / packets if packets else 0.0
    figures = (Figure("packets", packets), Figure("bytes_per_packet", mean), Figure("span_s", covered_s(windows)))
    paused = packets < PAUSED_PACKETS_PER_S * covered_s(windows)
    if packets and mean * (1 + paused) > SILENT_PACKET_BYTES:
        return Finding(Presence.ABSENT, f"there is sound again, {mean:.0f} bytes a packet", figures)
    if covered_s(windows) < ENOUGH * SILENT_S or not (packets or is_alive_silence(view)):
        return Finding(Presence.UNCLEAR)
    what = f"{packets} packets of {mean:.0f} bytes" if packets else "no packets, but sender reports"
    return Finding(Presence.PRESENT, f"not muted, but silent for {SILENT_S:.0f} s ({what})", figures)


def is_alive_silence(view: View) -> bool:
    """Audio without packets whose sender still reports: silent, not stuck."""
    return view.latest.kind is TrackKind.AUDIO and is_reported(view) is True


def is_reported(view: View) -> bool | None:
    """Whether the sender reported lately; None where reports are not counted."""
    counts = [window.sender_reports for window in within(view.samples, view.now, REPORTED_S)]
    known = [count for count in counts if count is not None]
    return any(known) if known else None
