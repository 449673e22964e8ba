"""Real recordings for the export tests: encoded here, laid out on disk as the recorder does it.

All media show and sound the same clock: the picture is white and a tone sounds for the first 120 ms of
each second of media time, so a test can see from an output whether both are where they belong.
"""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np

from media.frames import Codec, EncodedFrame, MediaKind
from media.process.avc import annexb_to_length_prefixed
from media.record.codec_config import RECORDABLE, codec_config
from media.record.entries import (
    ClockMapping,
    ClockSource,
    InitEntry,
    JournalEntry,
    RecordingClosed,
    RecordingStarted,
    SegmentEntry,
    TrackDescriptor,
    TrackOpened,
)
from media.record.journal import JOURNAL_NAME
from media.record.journal_line import encode_entry
from media.record.muxer import muxer_for
from media.record.sample import CodecConfig, Sample

STARTED_AT = 1_700_000_000.0
FLASH_S = 0.120
FPS = 25
SMALL = (320, 180)
SMALLER = (160, 90)

_ENCODERS = {
    Codec.H264: ("libx264", {"preset": "ultrafast", "tune": "zerolatency"}),
    Codec.VP8: ("libvpx", {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "auto-alt-ref": "0"}),
}


@functools.cache
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
    encoder.options = {**options, "preset": preset} if codec is Codec.H264 else options
    frames: list[EncodedFrame] = []
    for index in range(round(duration_s * FPS)):
        time_s = start_s + index / FPS
        picture = np.full((size[1] * 3 // 2, size[0]), 128, np.uint8)
        picture[: size[1]] = 235 if time_s % 1 < FLASH_S - 1e-6 else 40
        picture[10:40, 10 + index % 100 : 40 + index % 100] = 128
        frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts = round(time_s * 90_000)
        frame.time_base = Fraction(1, 90_000)
        for packet in encoder.encode(frame):
            data = bytes(packet)
            frames.append(
                EncodedFrame(
                    codec,
                    annexb_to_length_prefixed(data) if codec is Codec.H264 else data,
                    round(time_s * 90_000),
                    time_s,
                    packet.is_keyframe,
                    width=size[0],
                    height=size[1],
                )
            )
    return tuple(frames)


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
    """What to record of one track: frames whose RTP time is media time, and what to make the files say of it."""

    source: str
    frames: tuple[EncodedFrame, ...]
    identity: str = "alice"
    mapping_error_s: float = 0.0
    """The first mapping is wrong by this much; a second one, right, holds from one second on."""

    @property
    def kind(self) -> MediaKind:
        return self.frames[0].codec.kind


def write_recording(
    path: Path, tracks: Sequence[Track], *, segment_s: float = 2.0, closed: bool = True, recording_id: str = "RM_test"
) -> Path:
    """Lay a recording out in the folder `path`."""
    path.mkdir(parents=True)
    entries: list[JournalEntry] = [RecordingStarted(recording_id, "room", "RM_1", STARTED_AT)]
    for number, track in enumerate(tracks, start=1):
        entries += _write_track(path, recording_id, number, track, segment_s)
    if closed:
        entries.append(RecordingClosed())
    (path / JOURNAL_NAME).write_bytes(b"".join(encode_entry(entry, STARTED_AT) for entry in entries))
    return path


def camera_and_microphone(codec: Codec, duration_s: float = 3.0, identity: str = "alice") -> list[Track]:
    """The usual two tracks. The video starts 0.2 s after the audio."""
    return [
        Track("microphone", encode_audio(0.0, duration_s), identity),
        Track("camera", encode_video(codec, 0.2, duration_s - 0.2), identity),
    ]


def _write_track(path: Path, recording_id: str, number: int, track: Track, segment_s: float) -> list[JournalEntry]:
    codec = track.frames[0].codec
    directory = f"tracks/{number}-{track.kind.value}"
    (path / directory).mkdir(parents=True)
    descriptor = TrackDescriptor(
        f"TR_{number}", track.source, track.source, track.kind, codec, track.identity, track.identity, "PA_1"
    )
    base = track.frames[0].rtp_timestamp
    start_s = base / codec.clock_rate
    entries: list[JournalEntry] = [
        TrackOpened(number, directory, codec.clock_rate, descriptor),
        ClockMapping(number, 0, start_s + track.mapping_error_s, 0.0, 100.0, ClockSource.ARRIVAL),
    ]
    if track.mapping_error_s:
        right = ClockMapping(number, codec.clock_rate, start_s + 1.0, 0.0, 5.0, ClockSource.SENDER_REPORT)
        entries.append(right)
    writer = _TrackFiles(path, directory, f"{recording_id}/{number}", number, codec)
    samples = _samples(track.frames)
    segment: list[Sample] = []
    known: CodecConfig | None = None
    for frame, sample in zip(track.frames, samples, strict=True):
        config = codec_config(frame, known) if frame.sync_sample else known
        assert config is not None
        full = bool(segment) and sample.decode_time - segment[0].decode_time >= segment_s * codec.clock_rate
        if frame.sync_sample and segment and (full or config != known):
            entries.append(writer.segment(segment))
            segment = []
        if config != known:
            entries.append(writer.init(config))
            known = config
        segment.append(sample)
    return [*entries, writer.segment(segment)]


def _samples(frames: tuple[EncodedFrame, ...]) -> list[Sample]:
    base = frames[0].rtp_timestamp
    usual = 960 if frames[0].codec is Codec.OPUS else 90_000 // FPS
    times = [frame.rtp_timestamp - base for frame in frames]
    # A hole is a hole, not a long sample.
    durations = [min(after - time, 2 * usual) for time, after in pairwise(times)]
    return [
        Sample(frame.data, time, duration, frame.sync_sample)
        for frame, time, duration in zip(frames, times, [*durations, usual], strict=True)
    ]


class _TrackFiles:
    def __init__(self, path: Path, directory: str, prefix: str, number: int, codec: Codec) -> None:
        self._path, self._directory, self._prefix, self._number = path, directory, prefix, number
        self._codec = codec
        self._container = RECORDABLE[codec]
        self._muxer = muxer_for(codec, self._container)
        self._inits = 0
        self._segments = 0
        self._init_path = ""

    def init(self, config: CodecConfig) -> InitEntry:
        data = self._muxer.init_segment(config, b"note %d" % self._inits)
        self._init_path = f"{self._directory}/init-{self._inits}{self._container.init_suffix}"
        (self._path / self._init_path).write_bytes(data)
        self._inits += 1
        return InitEntry(
            self._number,
            self._inits - 1,
            self._init_path,
            self._container,
            self._codec,
            config.codec_string,
            config.width,
            config.height,
            hashlib.sha256(data).hexdigest(),
            len(data),
        )

    def segment(self, samples: list[Sample]) -> SegmentEntry:
        runs = _runs(samples)
        data = self._muxer.segment_head(b"")
        data += b"".join(self._muxer.media_part(self._segments, index, run) for index, run in enumerate(runs))
        path = f"{self._directory}/{self._segments:06d}{self._container.segment_suffix}"
        (self._path / path).write_bytes(data)
        self._segments += 1
        return SegmentEntry(
            id=f"{self._prefix}/{self._segments - 1}",
            track=self._number,
            sequence=self._segments - 1,
            path=path,
            init_path=self._init_path,
            sha256=hashlib.sha256(data).hexdigest(),
            size_bytes=len(data),
            decode_time=samples[0].decode_time,
            duration=samples[-1].end_decode_time - samples[0].decode_time,
            samples=len(samples),
            sync_samples=sum(sample.sync_sample for sample in samples),
            parts=len(runs),
            discontinuity=False,
            independent=samples[0].sync_sample,
            recovered=False,
            closed_at=STARTED_AT,
        )


def _runs(samples: list[Sample]) -> list[list[Sample]]:
    """Parts: at most one second each, and without a hole inside."""
    runs: list[list[Sample]] = []
    for sample in samples:
        if runs and runs[-1][-1].end_decode_time == sample.decode_time and len(runs[-1]) < FPS:
            runs[-1].append(sample)
        else:
            runs.append([sample])
    return runs


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
