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
from media.sources.turn import Turn, turned

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
    rotation: int = 0,
    mirrored: bool = False,
) -> Path:
    """The pattern alone, in H.264 or VP8 without pictures out of order, as a camera encodes it.

    `rotation`: it lies on its side, and the file says to turn it by so many degrees counterclockwise, and
    then to mirror it, left for right, where it is `mirrored`.
    """
    own = {
        "h264": ("libx264", {"preset": "ultrafast", "tune": "zerolatency", "x264-params": "scenecut=0:nal-hrd=none"}),
        "vp8": ("libvpx", {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}),
    }
    encoder, options = own[codec]
    source = PatternSource(video, duration_s=seconds)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(encoder, rate=round(video.fps), options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = (video.height, video.width) if rotation % 180 else (video.width, video.height)
        stream.pix_fmt = "yuv420p"
        if rotation or mirrored:
            stream.set_display_rotation(rotation, hflip=mirrored)
        stream.codec_context.bit_rate = bitrate_bps
        stream.codec_context.gop_size = key_frame_every
        for number, frame in enumerate(iter(source.read_video, None)):
            lying = turned(frame.data, video.width, video.height, Turn(-rotation // 90 % 4, mirrored))
            planes = np.frombuffer(lying, np.uint8).reshape(stream.height * 3 // 2, stream.width)
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


def transport_stream(source: Path, target: Path, begin_s: float = 0.0) -> Path:
    """`source` as an MPEG transport stream whose clock stands at `begin_s` as it begins."""
    with av.open(str(source)) as reading, av.open(str(target), "w", format="mpegts") as writing:
        copies = {stream.index: writing.add_stream_from_template(stream) for stream in reading.streams}
        for packet in reading.demux():
            if packet.dts is None or packet.pts is None or packet.time_base is None:
                continue
            later = round(begin_s / packet.time_base)
            packet.pts, packet.dts, packet.stream = packet.pts + later, packet.dts + later, copies[packet.stream.index]
            writing.mux(packet)
    return target


def without_sound(source: Path, target: Path, from_s: float, to_s: float) -> Path:
    """`source` without the packets of sound between two times, as a recorder writes who was muted."""
    with av.open(str(source)) as reading, av.open(str(target), "w") as writing:
        copies = {stream.index: writing.add_stream_from_template(stream) for stream in reading.streams}
        for packet in reading.demux():
            if packet.dts is None or packet.pts is None or packet.time_base is None:
                continue
            if packet.stream.type == "audio" and from_s <= packet.pts * packet.time_base < to_s:
                continue
            packet.stream = copies[packet.stream.index]
            writing.mux(packet)
    return target


def trimmed(source: Path, target: Path, from_s: float) -> Path:
    """`source` (with one key frame, at 0) from a time on, without encoding anew: an edit list says what is shown."""
    with av.open(str(source)) as reading, av.open(str(target), "w") as writing:
        (stream,) = reading.streams.video
        copy = writing.add_stream_from_template(stream)
        for packet in reading.demux(stream):
            if packet.dts is None or packet.pts is None or packet.time_base is None:
                continue
            back = round(from_s / packet.time_base)
            packet.pts, packet.dts, packet.stream = packet.pts - back, packet.dts - back, copy
            writing.mux(packet)
    return target


def adts(path: Path, rate: int, layout: str, seconds: float = 1.0) -> Path:
    """Silence as raw AAC, which can be put one behind the other as it is."""
    with av.open(str(path), "w", format="adts") as container:
        stream = container.add_stream("aac", rate=rate, layout=layout)
        block = AudioFrame(format="fltp", layout=layout, samples=round(rate * seconds))
        for plane in block.planes:
            plane.update(bytes(plane.buffer_size))
        block.sample_rate, block.pts, block.time_base = rate, 0, Fraction(1, rate)
        container.mux(stream.encode(block))
        container.mux(stream.encode(None))
    return path


def damaged_from(path: Path, part: float) -> Path:
    """`path` itself, an MP4 whose media are all ones behind that part of them."""
    content = bytearray(path.read_bytes())
    begin, end = content.index(b"mdat") + 4, content.index(b"moov") - 4
    begin += round((end - begin) * part)
    content[begin:end] = b"\xff" * (end - begin)
    path.write_bytes(content)
    return path
