"""A program for tests: records frames at many times their pace and says what it has done, until it is killed.

Arguments: the folder, "create" or "resume", and a pickle of a descriptor and a list of frames per track. Prints
 "part <track> <sequence> <parts> <samples>" and "segment <id>".
"""

import pickle
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import structlog

from media.frames import Codec, EncodedFrame
from media.record.entries import SegmentEntry, TimelineEvent, TrackDescriptor
from media.record.recorder import Recording
from media.record.recording_writer import RecordingCallbacks

SPEED = 40
START = 1_000.0


def say(*words: object) -> None:
    """One line, out at once."""
    print(*words, flush=True)


def segment_closed(segment: SegmentEntry) -> None:
    """Tell of a closed segment."""
    say("segment", segment.id)


def part_written(track: int, sequence: int, parts: int, samples: int) -> None:
    """Tell of a part."""
    say("part", track, sequence, parts, samples)


def main(root: Path, how: str, media: list[tuple[TrackDescriptor, list[EncodedFrame]]]) -> None:
    """Record a track for each list until killed."""
    # Standard output is for what the test reads.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    callbacks = RecordingCallbacks(on_segment=segment_closed, on_part=part_written)
    offset_s = 0.0 if how == "create" else 100.0
    if how == "create":
        recording = Recording.create(root, "one", "room", started_at=START, callbacks=callbacks)
    else:
        recording = Recording.resume(root / "one", START + offset_s, callbacks=callbacks)
    tracks = [recording.open_track(descriptor, START + offset_s) for descriptor, _ in media]
    pending = sorted(
        (
            (frame.arrival_time + offset_s, number, frame)
            for number, (_, frames) in enumerate(media)
            for frame in frames
        ),
        key=lambda item: item[:2],
    )
    say("ready")
    began = time.monotonic()
    for arrival, number, frame in pending:
        while (time.monotonic() - began) * SPEED < arrival - START - offset_s:
            time.sleep(0.001)
        tracks[number].write(replace(frame, arrival_time=arrival))
        recording.tick(arrival)
        if frame.codec is Codec.OPUS:
            recording.append_event(TimelineEvent("tick", arrival))
    signal.pause()


if __name__ == "__main__":
    with Path(sys.argv[3]).open("rb") as file:
        main(Path(sys.argv[1]), sys.argv[2], pickle.load(file))
