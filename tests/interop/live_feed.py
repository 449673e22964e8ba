"""A recording written at its pace, from media encoded before: a camera that numbers its pictures, a microphone."""

import asyncio
import functools
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from media.frames import Codec, EncodedFrame
from media.process.avc import annexb_to_length_prefixed
from media.record.recorder import Recording
from media.record.recording_writer import RecordingConfig
from media.record.segmenter import SegmenterConfig
from media.record.track_recorder import TrackRecorder
from media.rtp.clock_mapping import ClockSource, RtpClockMapping
from media.sources.pattern import PatternPainter
from media.sources.source import VideoFormat
from tests.media.export.recordings import encode_audio
from tests.media.record.encoded_media import descriptor

FPS = 25
LARGE, SMALL = (320, 180), (192, 108)  # small, for a browser has to decode them in time on any machine
MEDIA_S = 60
CONFIG = RecordingConfig(SegmenterConfig(segment_duration_s=2.0, part_duration_s=0.5))


@functools.cache  # encoding costs more than all else that the tests do
def numbered_pictures(size: tuple[int, int], first: int, count: int) -> tuple[EncodedFrame, ...]:
    """Pictures `first` and up of the test pattern, a key frame each second; RTP time is their number's."""
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height = size
    encoder.pix_fmt = "yuv420p"
    encoder.time_base = Fraction(1, 90_000)
    encoder.framerate = Fraction(FPS)
    encoder.gop_size = FPS
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency"}
    painter = PatternPainter(VideoFormat(*size, FPS))
    frames: list[EncodedFrame] = []
    for number in range(first, first + count):
        data = np.frombuffer(painter.paint(number), np.uint8).reshape(size[1] * 3 // 2, size[0])
        picture = av.VideoFrame.from_ndarray(data, format="yuv420p")
        picture.pts, picture.time_base = number * 3600, Fraction(1, 90_000)
        for packet in encoder.encode(picture):
            payload = annexb_to_length_prefixed(bytes(packet))
            frames.append(EncodedFrame(Codec.H264, payload, number * 3600, number / FPS, packet.is_keyframe))
    return tuple(frames)


class LiveFeed:
    """Records in the folder `path` from `start` on; `captured_at` says when each picture was taken (Unix time)."""

    def __init__(self, path: Path, *, switch_s: float | None = None, duration_s: float = MEDIA_S) -> None:
        """`switch_s`: from then on the pictures are small."""
        large = round((duration_s if switch_s is None else min(switch_s, duration_s)) * FPS)
        video = numbered_pictures(LARGE, 0, large) + numbered_pictures(SMALL, large, round(duration_s * FPS) - large)
        self.name = path.name
        self._path = path
        self._frames = {Codec.H264: video, Codec.OPUS: encode_audio(0.0, duration_s)}
        self._recording: Recording | None = None
        self._began = 0.0
        self.captured_at: dict[int, float] = {}
        self.muted: set[Codec] = set()
        self._people: dict[str, dict[Codec, TrackRecorder]] = {}
        self.away = False
        """The writer is dead: what it would have written is lost."""

    def start(self) -> None:
        """Create the recording; `run` then writes it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._began = time.time()
        root, name = self._path.parent, self._path.name
        self._recording = Recording.create(root, name, "room", started_at=self._began, config=CONFIG)
        self.come("ada")

    def come(self, identity: str) -> None:
        """Somebody publishes: the same media as all others."""
        self._people[identity] = {codec: self._open(codec, identity) for codec in self._frames}

    def leave(self, identity: str) -> None:
        """Somebody's tracks end."""
        for track in self._people.pop(identity).values():
            track.close(time.time())

    def pause(self) -> None:
        """What comes is not recorded until `unpause`."""
        assert self._recording is not None
        self._recording.pause(time.time())

    def unpause(self) -> None:
        """The recording goes on."""
        assert self._recording is not None
        self._recording.unpause(time.time())

    def _open(self, codec: Codec, identity: str) -> TrackRecorder:
        assert self._recording is not None
        known = replace(descriptor(codec, f"{codec.value}-{identity}"), participant_identity=identity)
        track = self._recording.open_track(known, time.time())
        track.set_clock_mapping(RtpClockMapping(0, self._began, 0.0, 5.0, ClockSource.SENDER_REPORT), time.time())
        return track

    async def run(self) -> None:
        """Write each frame when its time has come, and close the recording in the end."""
        for time_s, codec, frame in self._in_order():
            await asyncio.sleep(max(0.0, self._began + time_s - time.time()))
            assert self._recording is not None
            now = time.time()
            self._recording.tick(now)
            if codec is Codec.H264:
                self.captured_at[round(time_s * FPS)] = now
            if self.away or codec in self.muted:
                continue
            for tracks in self._people.values():
                tracks[codec].write(EncodedFrame(codec, frame.data, frame.rtp_timestamp, now, frame.sync_sample))
        await self.end()

    def _in_order(self) -> Iterator[tuple[float, Codec, EncodedFrame]]:
        found = ((frame.arrival_time, codec, frame) for codec, frames in self._frames.items() for frame in frames)
        yield from sorted(found, key=lambda item: item[:2])

    async def resume(self) -> None:
        """A new writer goes on with what the old one closed."""
        self._recording = await asyncio.to_thread(Recording.resume, self._path, time.time(), config=CONFIG)
        for identity in list(self._people):
            self.come(identity)
        self.away = False

    async def end(self) -> None:
        """Close the recording."""
        if self._recording is not None:
            await self._recording.aclose(time.time())
