"""Media files for tests, written a moment before they are read."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

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


def write_encoded(
    path: Path,
    *,
    codec: str = "h264",
    video: VideoFormat = VIDEO,
    seconds: float = 2.0,
    bitrate_bps: int = 500_000,
    key_frame_every: int = 25,
) -> Path:
    """The pattern alone, in H.264 or VP8 without pictures out of order, as a camera encodes it."""
    own = {
        "h264": ("libx264", {"preset": "ultrafast", "tune": "zerolatency", "x264-params": "scenecut=0:nal-hrd=none"}),
        "vp8": ("libvpx", {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}),
    }
    encoder, options = own[codec]
    source = PatternSource(video, duration_s=seconds)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(encoder, rate=round(video.fps), options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, "yuv420p"
        stream.codec_context.bit_rate = bitrate_bps
        stream.codec_context.gop_size = key_frame_every
        for number, frame in enumerate(iter(source.read_video, None)):
            planes = np.frombuffer(frame.data, np.uint8).reshape(video.height * 3 // 2, video.width)
            picture = VideoFrame.from_ndarray(planes, format="yuv420p")
            picture.pts, picture.time_base = number, Fraction(1, round(video.fps))
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
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
