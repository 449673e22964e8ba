"""Real recordings for the export tests: encoded here, written by the recorder.

All media show and sound the same clock: the picture is white and a tone sounds for the first 120 ms of
each second of media time, so a test can see from an output whether both are where they belong.
"""

import functools
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from media.frames import Codec, EncodedFrame
from media.record.entries import RecordingState, SegmentEntry, TrackDescriptor
from media.record.journal import JOURNAL_NAME
from media.record.recorder import Recording
from media.record.recording_writer import RecordingCallbacks, RecordingConfig
from media.record.segmenter import SegmenterConfig
from media.record.track_recorder import TrackRecorder
from media.rtp.clock_mapping import ClockSource, RtpClockMapping
from tests.media.priority import kept_priority
from tests.media.record.encoded_media import OPTIONS, stored

STARTED_AT = 1_700_000_000.0
FLASH_S = 0.120
FPS = 25
PART_S = 0.5
SMALL = (320, 180)
SMALLER = (160, 90)

_ENCODERS = {
    Codec.H264: ("libx264", {"preset": "ultrafast", "tune": "zerolatency"}),
    Codec.H265: ("libx265", {"preset": "ultrafast", "tune": "zerolatency"}),
    Codec.VP8: ("libvpx", OPTIONS[Codec.VP8]),
    Codec.VP9: ("libvpx-vp9", OPTIONS[Codec.VP9]),
    Codec.AV1: ("libsvtav1", OPTIONS[Codec.AV1]),
}
_X265 = f"repeat-headers=1:no-open-gop=1:scenecut=0:pools=1:log-level=none:keyint={FPS}:min-keyint={FPS}"


@functools.cache
@kept_priority()
def encode_video(
    codec: Codec, start_s: float, duration_s: float, size: tuple[int, int] = SMALL, preset: str = "ultrafast"
) -> tuple[EncodedFrame, ...]:
    """Frames from media time `start_s` on, a key frame each second; `rtp_timestamp` is media time at 90 kHz."""
    name, options = _ENCODERS[codec]
    encoder = av.CodecContext.create(name, "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height = size
    encoder.pix_fmt = "yuv420p"
    encoder.time_base = Fraction(1, 90_000)
    encoder.framerate = Fraction(FPS)
    encoder.gop_size = FPS
    encoder.thread_count = 1  # libvpx waits for its threads by spinning: on a busy machine more of them take minutes
    encoder.options = {**options, "preset": preset} if codec is Codec.H264 else dict(options)
    if codec is Codec.AV1:
        encoder.bit_rate = 500_000
    if codec is Codec.H265:
        encoder.options = {**options, "x265-params": _X265}
    packets: list[av.Packet[Any]] = []
    for index in range(round(duration_s * FPS)):
        time_s = start_s + index / FPS
        picture = np.full((size[1] * 3 // 2, size[0]), 128, np.uint8)
        picture[: size[1]] = 235 if time_s % 1 < FLASH_S - 1e-6 else 40
        picture[10:40, 10 + index % 100 : 40 + index % 100] = 128
        frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts = round(time_s * 90_000)
        frame.time_base = Fraction(1, 90_000)
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    return tuple(
        EncodedFrame(
            codec,
            stored(codec, bytes(packet)),
            round((start_s + index / FPS) * 90_000),
            start_s + index / FPS,
            packet.is_keyframe,
            width=size[0],
            height=size[1],
        )
        for index, packet in enumerate(packets)
    )


@functools.cache
def encode_audio(start_s: float, duration_s: float) -> tuple[EncodedFrame, ...]:
    """Opus packets of 20 ms from media time `start_s` on; `rtp_timestamp` is media time at 48 kHz."""
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate = 48_000
    encoder.layout = "stereo"
    encoder.format = "s16"
    encoder.time_base = Fraction(1, 48_000)
    encoder.open()
    frames: list[EncodedFrame] = []
    first = round(start_s * 48_000)
    for index in range(round(duration_s * 50)):
        time = first + index * 960
        seconds = (time + np.arange(960)) / 48_000
        sound = np.where(seconds % 1 < FLASH_S, 12_000 * np.sin(2 * np.pi * 1000 * seconds), 0).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(np.repeat(sound, 2)[None, :], format="s16", layout="stereo")
        frame.sample_rate = 48_000
        frame.pts = index * 960
        frames += [
            EncodedFrame(Codec.OPUS, bytes(packet), time, time / 48_000, sync_sample=True)
            for packet in encoder.encode(frame)
        ]
    return tuple(frames)


@dataclass(frozen=True)
class Track:
    """What to record of one track: frames whose RTP time is media time."""

    source: str
    frames: tuple[EncodedFrame, ...]
    identity: str = "alice"
    mapping_error_s: float = 0.0
    """The clock is first taken wrong by this much, and right after one second."""
    name: str = ""
    """Empty: as the source. A track of another name is another recorded track."""
    drift_ppm: float = 0.0
    """Media time runs that much faster than the track's RTP time, and all marks of the track come later by it."""


def write_recording(path: Path, tracks: Sequence[Track], *, segment_s: float = 2.0) -> Path:
    """Record `tracks` into the folder `path`, whose name is the recording's id, and close the recording."""
    recording = start_recording(path, tracks, segment_s=segment_s)
    assert recording.close(STARTED_AT + 1000) is RecordingState.COMPLETE
    return path


def start_recording(
    path: Path,
    tracks: Sequence[Track],
    *,
    segment_s: float = 2.0,
    on_segment: Callable[[SegmentEntry], None] = lambda _: None,
    tracks_end: bool = True,
    mux: bool = False,
) -> Recording:
    """As `write_recording`, but the recording goes on, and its tracks too unless `tracks_end`."""
    recording = Recording.create(
        path.parent,
        path.name,
        "room",
        started_at=STARTED_AT,
        config=RecordingConfig(
            SegmenterConfig(segment_duration_s=segment_s, part_duration_s=PART_S), mux_participants=mux
        ),
        callbacks=RecordingCallbacks(on_segment=on_segment),
    )
    frames = sorted(
        ((frame.arrival_time, number, frame) for number, track in enumerate(tracks) for frame in track.frames),
        key=lambda item: item[:2],
    )
    recorders: dict[int, TrackRecorder] = {}
    corrected: set[int] = set()
    for time_s, number, frame in frames:
        track, now = tracks[number], STARTED_AT + time_s
        if number not in recorders:
            recorders[number] = recording.open_track(_descriptor(number, track), now)
            recorders[number].set_clock_mapping(_clock(track.mapping_error_s, track.drift_ppm), now)
        if track.mapping_error_s and number not in corrected and time_s >= track.frames[0].arrival_time + 1.0:
            corrected.add(number)
            recorders[number].set_clock_mapping(_clock(0.0, track.drift_ppm), now)
        assert recorders[number].write(replace(frame, arrival_time=now))
        if tracks_end and frame is track.frames[-1]:
            recorders[number].close(now)
    return recording


def killed_recording(path: Path, tracks: Sequence[Track], *, segment_s: float = 2.0, mux: bool = False) -> Path:
    """As `write_recording`, but by a process that is killed with its last segments open."""
    writer = multiprocessing.get_context("forkserver").Process(
        target=_record_until_killed, args=(path, tracks, segment_s, mux)
    )
    writer.start()
    writer.join()
    assert writer.exitcode == -signal.SIGKILL
    return path


def _record_until_killed(path: Path, tracks: Sequence[Track], segment_s: float, mux: bool) -> None:
    recording = start_recording(path, tracks, segment_s=segment_s, tracks_end=False, mux=mux)
    # All but what may wait for the end of each track's last part.
    due = sum(frame.arrival_time < track.frames[-1].arrival_time - PART_S for track in tracks for frame in track.frames)
    while recording.stats.frames_written < due:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)


def interrupt(path: Path) -> None:
    """Make the closed recording in the folder `path` one whose writer died just before."""
    journal = path / JOURNAL_NAME
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(line for line in lines if b"recording_closed" not in line))


def _clock(error_s: float, drift_ppm: float) -> RtpClockMapping:
    """RTP time is media time, or so the recorder is told, give or take `error_s` and a drift."""
    return RtpClockMapping(0, STARTED_AT + error_s, drift_ppm, 5.0, ClockSource.SENDER_REPORT)


def _descriptor(number: int, track: Track) -> TrackDescriptor:
    codec = track.frames[0].codec
    sid = f"TR_{number}"
    return TrackDescriptor(
        sid, track.name or track.source, track.source, codec.kind, codec, track.identity, track.identity, "PA_1"
    )


def camera_and_microphone(codec: Codec, duration_s: float = 3.0, identity: str = "alice") -> list[Track]:
    """The usual two tracks. The video starts 0.2 s after the audio."""
    return [
        Track("microphone", encode_audio(0.0, duration_s), identity),
        Track("camera", encode_video(codec, 0.2, duration_s - 0.2), identity),
    ]


def without(frames: tuple[EncodedFrame, ...], start_s: float, end_s: float) -> tuple[EncodedFrame, ...]:
    """`frames` with a hole from `start_s` to `end_s` of media time."""
    return tuple(frame for frame in frames if not start_s <= frame.arrival_time < end_s)


def shifted(frames: tuple[EncodedFrame, ...], by_s: float) -> tuple[EncodedFrame, ...]:
    """`frames` as if they came `by_s` later."""
    return tuple(
        replace(
            frame,
            rtp_timestamp=frame.rtp_timestamp + round(by_s * frame.codec.clock_rate),
            arrival_time=frame.arrival_time + by_s,
        )
        for frame in frames
    )
