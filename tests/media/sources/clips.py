"""Media files for tests, written a moment before they are read."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from media.sources.pattern import PatternSource
from media.sources.source import AudioFormat, VideoFormat

VIDEO = VideoFormat(320, 180, 25.0)


def write_pattern(path: Path, *, seconds: float, audio: AudioFormat) -> Path:
    """A file of H.264 (with B frames) and AAC that shows the pattern."""
    source = PatternSource(VIDEO, audio, duration_s=seconds)
    with av.open(str(path), "w") as container:
        picture_stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "bf": "2"})
        picture_stream.width, picture_stream.height, picture_stream.pix_fmt = VIDEO.width, VIDEO.height, "yuv420p"
        layout = "stereo" if audio.channels == 2 else "mono"
        sound_stream = container.add_stream("aac", rate=audio.sample_rate, layout=layout)
        for number, frame in enumerate(iter(source.read_video, None)):
            planes = np.frombuffer(frame.data, np.uint8).reshape(VIDEO.height * 3 // 2, VIDEO.width)
            picture = VideoFrame.from_ndarray(planes, format="yuv420p")
            picture.pts, picture.time_base = number, Fraction(1, 25)
            container.mux(picture_stream.encode(picture))
        container.mux(picture_stream.encode(None))
        for chunk in iter(source.read_audio, None):
            samples = np.frombuffer(chunk.data, np.int16).reshape(1, -1)
            block = AudioFrame.from_ndarray(samples, format="s16", layout=layout)
            block.sample_rate, block.pts = chunk.sample_rate, round(chunk.pts_s * chunk.sample_rate)
            block.time_base = Fraction(1, chunk.sample_rate)
            container.mux(sound_stream.encode(block))
        container.mux(sound_stream.encode(None))
    return path


def remuxed(source: Path, target: Path, kind: str) -> Path:
    """One stream of `source` alone."""
    with av.open(str(source)) as reading, av.open(str(target), "w") as writing:
        stream = next(stream for stream in reading.streams if stream.type == kind)
        copy = writing.add_stream_from_template(stream)
        for packet in reading.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                writing.mux(packet)
    return target
