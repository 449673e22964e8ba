"""Video of any codec into H.264, one output frame for each recorded one, at the same times."""

import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import av
from av.error import FFmpegError
from av.filter import Graph
from av.video.codeccontext import VideoCodecContext
from av.video.format import VideoFormat
from av.video.frame import PictureType, VideoFrame

from media.errors import UnsupportedCodec
from media.frames import Codec
from media.process.avc import annexb_to_length_prefixed

TIMESCALE = 90_000

# A decoder, its player and a seek all start at key frames: 4 s is what video on demand services use.
KEYFRAME_INTERVAL_S = 4.0

# Visually close to the source at a speed of several times real time on one core.
_ENCODER_OPTIONS = {"preset": "veryfast", "crf": "20", "forced-idr": "1", "bf": "0"}

# Hint for rate control only; each frame keeps its own time.
_NOMINAL_RATE = 30

# FFmpeg's own "av1" decodes with hardware only.
_DECODERS = {Codec.VP8: "vp8", Codec.VP9: "vp9", Codec.AV1: "libdav1d", Codec.H264: "h264", Codec.H265: "hevc"}


@dataclass(frozen=True, slots=True)
class CodedPicture:
    """A coded frame to transcode. `time` is in ticks of TIMESCALE; `decoder_config` is the codec's extradata."""

    data: bytes
    time: int
    codec: Codec
    decoder_config: bytes


@dataclass(frozen=True, slots=True)
class H264Picture:
    """An encoded frame, NAL units with 4-byte lengths."""

    data: bytes
    time: int
    sync: bool


class H264Transcoder:
    """Encodes pictures of any size into one H.264 stream of `width` × `height` (both are made even).

    A picture of another size is scaled to fit and centered on black. One that cannot be decoded is replaced by the
    last that could, so that the count and the times stay the recording's; `concealed` counts those.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width = (width + 1) // 2 * 2
        self.height = (height + 1) // 2 * 2
        self.concealed = 0
        self._init = io.BytesIO()
        self._container = av.open(
            self._init,
            "w",
            format="mp4",
            options={"movflags": "empty_moov+default_base_moof+frag_custom"},
            container_options={"video_track_timescale": str(TIMESCALE)},
        )
        stream = self._container.add_stream("libx264", rate=_NOMINAL_RATE, options=_ENCODER_OPTIONS)
        self._encoder: VideoCodecContext = stream.codec_context
        self._encoder.width, self._encoder.height = self.width, self.height
        self._encoder.pix_fmt = "yuv420p"
        self._encoder.time_base = Fraction(1, TIMESCALE)
        self._encoder.gop_size = _NOMINAL_RATE * 60
        self._container.start_encoding()
        self.init_segment = self._init.getvalue()
        self._canvas = _Canvas(self.width, self.height)
        self._next_keyframe: float = 0
        self._last: VideoFrame | None = None

    def run(self, pictures: Iterable[CodedPicture]) -> Iterator[H264Picture]:
        """The encoded pictures, in order; some come only after later pictures went in."""
        for frame in self._decoded(pictures):
            yield from self._encode(frame)
        yield from self._encode(None)

    def _decoded(self, pictures: Iterable[CodedPicture]) -> Iterator[VideoFrame]:
        decoder: _Decoder | None = None
        for picture in pictures:
            if decoder is None or decoder.config != (picture.codec, picture.decoder_config):
                yield from decoder.flush() if decoder else ()
                decoder = _Decoder(picture.codec, picture.decoder_config, self._conceal)
            yield from decoder.feed(picture)
        yield from decoder.flush() if decoder else ()

    def _conceal(self, time: int) -> VideoFrame:
        self.concealed += 1
        frame = VideoFrame(self.width, self.height, "yuv420p") if self._last is None else _copy(self._last)
        if self._last is None:
            _blacken(frame)
        frame.pts = time
        return frame

    def _encode(self, frame: VideoFrame | None) -> Iterator[H264Picture]:
        if frame is not None:
            assert frame.pts is not None
            time = frame.pts
            frame = self._canvas.fit(frame)
            self._last = frame
            frame.pts = time
            frame.time_base = Fraction(1, TIMESCALE)
            frame.pict_type = PictureType.NONE
            if time >= self._next_keyframe:
                frame.pict_type = PictureType.I
                self._next_keyframe = time + KEYFRAME_INTERVAL_S * TIMESCALE
        for packet in self._encoder.encode(frame):
            assert packet.pts is not None
            yield H264Picture(annexb_to_length_prefixed(bytes(packet)), packet.pts, packet.is_keyframe)


class _Decoder:
    """One decoder; every picture fed comes out again, if need be concealed."""

    def __init__(self, codec: Codec, config: bytes, conceal: Callable[[int], VideoFrame]) -> None:
        name = _DECODERS.get(codec)
        if name is None:
            raise UnsupportedCodec(f"{codec} cannot be transcoded; export another track")
        self.config = (codec, config)
        self._conceal = conceal
        self._waiting: deque[int] = deque()
        self._context = cast(VideoCodecContext, av.CodecContext.create(name, "r"))
        if config:
            self._context.extradata = config

    def feed(self, picture: CodedPicture) -> Iterator[VideoFrame]:
        packet = av.Packet(picture.data)
        packet.pts = packet.dts = picture.time
        packet.time_base = Fraction(1, TIMESCALE)
        self._waiting.append(picture.time)
        yield from self._take(packet)

    def flush(self) -> Iterator[VideoFrame]:
        yield from self._take(None)
        while self._waiting:
            yield self._conceal(self._waiting.popleft())

    def _take(self, packet: "av.Packet[Any] | None") -> Iterator[VideoFrame]:
        try:
            frames = self._context.decode(packet)
        except FFmpegError:
            # Its time stays in line and is concealed when a later picture comes out.
            return
        for frame in frames:
            while self._waiting and frame.pts is not None and self._waiting[0] < frame.pts:
                yield self._conceal(self._waiting.popleft())
            if self._waiting and self._waiting[0] == frame.pts:
                self._waiting.popleft()
                yield frame


class _Canvas:
    """Puts frames of any size into one size, keeping their shape."""

    def __init__(self, width: int, height: int) -> None:
        self._size = (width, height)
        self._source: tuple[int, int, str] | None = None
        self._graph: Graph | None = None

    def fit(self, frame: VideoFrame) -> VideoFrame:
        """`frame` itself when it fits as it is."""
        if (frame.width, frame.height) == self._size and frame.format.name == "yuv420p":
            return frame
        source = (frame.width, frame.height, frame.format.name)
        if self._graph is None or self._source != source:
            self._graph, self._source = self._build(*source), source
        frame.time_base = Fraction(1, TIMESCALE)
        self._graph.push(frame)
        return cast(VideoFrame, self._graph.pull())

    def _build(self, width: int, height: int, pixel_format: str) -> Graph:
        target_width, target_height = self._size
        graph = Graph()
        source = graph.add_buffer(
            width=width, height=height, format=VideoFormat(pixel_format), time_base=Fraction(1, TIMESCALE)
        )
        size = f"{target_width}:{target_height}"
        filters = [
            graph.add("scale", f"{size}:force_original_aspect_ratio=decrease:force_divisible_by=2:flags=bicubic"),
            graph.add("pad", f"{size}:(ow-iw)/2:(oh-ih)/2"),
            graph.add("setsar", "1"),
            graph.add("format", "yuv420p"),
            graph.add("buffersink"),
        ]
        graph.link_nodes(source, *filters).configure()
        return graph


def _copy(frame: VideoFrame) -> VideoFrame:
    return VideoFrame.from_ndarray(frame.to_ndarray(), format=frame.format.name)


def _blacken(frame: VideoFrame) -> None:
    for plane, value in zip(frame.planes, (16, 128, 128), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
