"""What the demo checks, pure: from what was seen to a list of verdicts."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from media.frames import MediaKind
from media.record.reader import RecordingView
from media.record.verify import VerificationReport

LEAST_FRAMES = 0.5  # of the nominal rate: on a busy machine the publisher's encoder lowers its frame rate by itself


@dataclass(frozen=True, slots=True)
class Verdict:
    """One check: what it is about, whether it held, and the figure behind it."""

    name: str
    ok: bool
    detail: str


def check_layers(layers_seen: Sequence[str], *, simulcast: bool) -> Verdict:
    """Whether the recorder saw the picture change its size as layers were switched."""
    wanted = 3 if simulcast else 1
    return Verdict("layers switched", len(layers_seen) >= wanted, " → ".join(layers_seen) or "none")


def check_recording(
    view: RecordingView, report: VerificationReport, duration_s: float, rates: Mapping[MediaKind, float]
) -> list[Verdict]:
    """Whether the recording is whole, and holds what `rates` make in `duration_s`, frames a second each."""
    problems = ", ".join(problem.code for problem in report.problems)
    whole = problems or f"{report.segments} segments, {report.samples} samples"
    verdicts = [Verdict("recording verifies", not report.problems, whole)]
    for kind, rate in rates.items():
        samples = sum(track.samples for track in view.tracks if track.descriptor.kind is kind)
        expected = rate * duration_s
        detail = f"{samples} frames, where {duration_s:.0f} s at {rate:.0f} a second are {expected:.0f}"
        verdicts.append(Verdict(f"{kind.value} recorded", samples >= expected * LEAST_FRAMES, detail))
    return verdicts


def check_nothing_lost(view: RecordingView, tracks: Sequence[dict[str, Any]]) -> Verdict:
    """Whether every frame that had been received when `tracks` were looked at is in the recording."""
    received = {item["sid"]: item["tap"]["frames_received"] for item in tracks if item["tap"]}
    recorded = dict.fromkeys(received, 0)
    for track in view.tracks:
        if track.descriptor.track_sid in recorded:
            recorded[track.descriptor.track_sid] += track.samples
    lost = sum(gap.frames_lost for track in view.tracks for gap in track.gaps)
    ok = bool(received) and lost == 0 and all(recorded[sid] >= count for sid, count in received.items())
    detail = f"{sum(recorded.values())} frames recorded, {sum(received.values())} had been received, {lost} lost"
    return Verdict("nothing lost", ok, detail)


def check_events(events: Iterable[dict[str, Any]]) -> list[Verdict]:
    """Whether chat, data packets and data-track frames came onto the recording's timeline."""
    counts: dict[str, int] = {}
    for event in events:
        kind = str(event.get("type"))
        counts[kind] = counts.get(kind, 0) + 1
    return [
        Verdict(f"{kind} on the timeline", counts.get(kind, 0) > 0, str(counts.get(kind, 0)))
        for kind in ("text", "data", "data_track_frame")
    ]


def check_export(status: dict[str, Any]) -> Verdict:
    """Whether an export completed and every check of its own passed."""
    checks = [check for item in status["outputs"] for check in item["checks"]]
    failed = [check["name"] for check in checks if not check["ok"]]
    ok = status["state"] == "complete" and bool(checks) and not failed
    detail = f"{len(checks)} checks passed" if ok else str(status.get("error") or failed or status["state"])
    return Verdict(f"{status['format']} export", ok, detail)


def check_metrics(text: str) -> Verdict:
    """Whether the scrape tells of recorded segments."""
    match = re.search(r"^roomhand_recording_segments_total(?:\{[^}]*\})? ([0-9.e+]+)", text, re.MULTILINE)
    segments = float(match[1]) if match else 0.0
    return Verdict("metrics scraped", segments > 0, f"roomhand_recording_segments_total {segments:.0f}")
