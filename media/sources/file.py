"""Pictures and sound from a media file, decoded by FFmpeg (PyAV) as they are asked for."""

import math
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Generic, TypeVar, cast

import av
import av.error
import structlog
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.container import InputContainer
from av.sidedata.sidedata import SideData, Type
from av.video.frame import VideoFrame

from media.errors import SourceUnreadable
from media.sources.packets import length_s, may_start_anew, packets_of, video_index
from media.sources.sound_line import SoundLine
from media.sources.source import AccessUnit, AudioFormat, DecodedAudio, DecodedVideoFrame, VideoFormat
from media.sources.turn import AS_IT_LIES, Turn, turn_of, turned

log = structlog.get_logger(__name__)

DEFAULT_FPS = 25.0
MAXIMUM_FPS = 120.0
MAXIMUM_CHANNELS = 2  # what the SDK's Opus encoder is used with here
DAMAGE_LIMIT = 50  # undecodable packets in a row (two seconds of video) before a file is given up

# What PyAV raises: errors of FFmpeg's, and Python's own for what it does not know (pixel formats, layouts, options).
PYAV_ERRORS = (av.error.FFmpegError, ValueError, NotImplementedError, RuntimeError)

T = TypeVar("T", DecodedVideoFrame, DecodedAudio, AccessUnit)
F = TypeVar("F", VideoFrame, AudioFrame)


class MediaFile(Generic[T]):
    """The first video and the first audio stream of a file, once or again and again; what its pictures are is T.

    The two streams are read through containers of their own: neither waits for the other. `loop`
    starts both anew when the file's duration is over, so they stay together.
    Raises SourceUnreadable if the file is missing, is no media file, or its first frames do not decode.
    """

    def __init__(self, path: Path, pictures: Callable[[InputContainer, Path], Iterator[T]], *, loop: bool) -> None:
        self._video_reader: StreamReader[T] | None = None
        self._audio_reader: StreamReader[DecodedAudio] | None = None
        with open_container(path) as probe, undecodable_said(path):
            _require_decoders(probe, path)
            self._look_at(probe, path)
            has_video = video_index(probe) is not None
            has_audio = bool(probe.streams.audio)
            round_s = _joined_length_s(path) if loop and may_start_anew(probe) else _duration_s(probe)
            self._video = video_format(probe)
            self._audio = _audio_format(probe)
        if not has_video and not has_audio:
            raise SourceUnreadable(f"{path} has neither video nor audio; give a file that has")
        if loop and round_s <= 0:
            raise SourceUnreadable(f"{path} does not say how long it is, so it cannot be looped; play it once")
        period_s = round_s if loop else None
        try:
            if self._video:
                self._video_reader = StreamReader(path, pictures, period_s)
            if self._audio:
                self._audio_reader = StreamReader(path, _audio_chunks, period_s)
        except SourceUnreadable:
            self.close()
            raise

    def _look_at(self, probe: InputContainer, path: Path) -> None:
        """What else is to be known of the file. Raises SourceUnreadable where it is not what it should be."""

    @property
    def video(self) -> VideoFormat | None:
        """Size, as it is shown, and average frame rate of the video stream."""
        return self._video

    @property
    def audio(self) -> AudioFormat | None:
        """48 kHz, mono or stereo; None where the file has no sound."""
        return self._audio

    def leave_out_video(self, before_s: float) -> None:
        """Go on at the last key frame before that, where it is ahead; else nothing can be left out.

        Nothing is in files whose times may start anew (MPEG transport streams).
        """
        if self._video_reader:
            self._video_reader.leave_out(before_s)

    def read_audio(self) -> DecodedAudio | None:
        """The next 20 ms of sound; the last chunk may be shorter."""
        return self._audio_reader.read() if self._audio_reader else None

    def close(self) -> None:
        """Close the file; waits for a read in progress."""
        for reader in (self._video_reader, self._audio_reader):
            if reader:
                reader.close()


class FileSource(MediaFile[DecodedVideoFrame]):
    """A file's pictures and sound, decoded."""

    def __init__(self, path: Path, *, loop: bool = False) -> None:
        super().__init__(path, _video_frames, loop=loop)
        first = self._video_reader.first if self._video_reader else None
        if self._video and first:
            self._video = replace(self._video, width=first.width, height=first.height)  # as it is turned

    def read_video(self) -> DecodedVideoFrame | None:
        """The next picture."""
        return self._video_reader.read() if self._video_reader else None


class StreamReader(Generic[T]):
    """Pulls one stream; a lock keeps `close` from freeing what a read in another thread uses."""

    def __init__(
        self, path: Path, decode: Callable[[InputContainer, Path], Iterator[T]], period_s: float | None
    ) -> None:
        self._path = path
        self._decode: Callable[[InputContainer, Path], Iterator[T]] = decode
        self._period_s = period_s
        self._offset_s = 0.0
        self._read_s = -math.inf  # pts of what was read last
        self._lock = threading.Lock()
        self._container: InputContainer | None = None
        self._scout: InputContainer | None = None
        self._items: Iterator[T] = iter(())
        self._start()
        self.first: T | None = self._next()
        """The item at the very beginning, until it is read."""
        if self.first is None:
            self.close()
            raise SourceUnreadable(f"nothing in {path} can be decoded; the file is damaged or not a media file")

    def _start(self) -> None:
        self._container = open_container(self._path)
        self._items = self._decode(self._container, self._path)

    def read(self) -> T | None:
        """The next item; None at the end, and once closed. Raises SourceUnreadable."""
        with self._lock:
            if self._container is None:
                return None
            item, self.first = self.first or self._next(), None
            if item is None and self._period_s is not None:
                item = self._next_round(self._period_s)
            if item is None:
                return None
            item = _later(item, self._offset_s)
            self._read_s = item.pts_s
            return item

    def leave_out(self, before_s: float) -> None:
        """Go on at the last key frame at or before `before_s`, where that is ahead."""
        with self._lock:
            if self._container is None or may_start_anew(self._container):
                return  # what is sought by a time that comes twice may be found in the wrong part
            try:
                self._scout = self._scout or open_container(self._path)
            except SourceUnreadable:
                return  # it may have been moved: what is open is read on
            offset_s = self._offset_s
            if self._period_s is not None:
                offset_s = max(offset_s, self._period_s * math.floor(before_s / self._period_s))
            key_s = _key_frame_s(self._scout, before_s - offset_s)
            if key_s is None or key_s + offset_s <= self._read_s:
                return
            self._container, self._scout = self._scout, self._container
            self._items = self._decode(self._container, self._path)
            self._offset_s, self.first = offset_s, None

    def _next_round(self, period_s: float) -> T | None:
        if self._container:
            self._container.close()
        self._offset_s += period_s
        self._start()
        return self._next()

    def _next(self) -> T | None:
        with undecodable_said(self._path):
            return next(self._items, None)

    def close(self) -> None:
        """Read no more; waits for a read in progress."""
        with self._lock:
            self._items = iter(())
            for container in filter(None, (self._container, self._scout)):
                container.close()
            self._container = self._scout = None


def _key_frame_s(container: InputContainer, to_s: float) -> float | None:
    """When the last key frame at or before `to_s` is shown; None where it cannot be sought. Goes there."""
    index = video_index(container)
    if index is None:
        return None
    begin_s = start_s(container)
    target = round((to_s + begin_s) * av.time_base)
    try:
        container.seek(target)
        packet = next(container.demux(index), None)
        container.seek(target)  # again: the key frame was taken to look at it
    except PYAV_ERRORS:
        return None
    if packet is None or not packet.is_keyframe or packet.pts is None or packet.time_base is None:
        return None
    return float(packet.pts * packet.time_base) - begin_s


def _later(item: T, offset_s: float) -> T:
    return replace(item, pts_s=item.pts_s + offset_s)


@contextmanager
def undecodable_said(path: Path) -> Iterator[None]:
    """Raises SourceUnreadable in place of what PyAV raises in the block."""
    try:
        yield
    except PYAV_ERRORS as error:
        reason = getattr(error, "strerror", None) or error
        raise SourceUnreadable(f"{path} cannot be decoded: {reason}; encode it anew") from error


def open_container(path: Path) -> InputContainer:
    """A media file, for reading. Raises SourceUnreadable."""
    try:
        # A pipe or device would block here for as long as nobody writes.
        if not stat.S_ISREG(path.stat().st_mode):
            raise SourceUnreadable(f"{path} cannot be read: it is no regular file; give a media file")
        # Absolute: FFmpeg takes what is before a colon for a protocol. And titles are in any encoding.
        return av.open(str(path.absolute()), mode="r", metadata_errors="replace")
    except FileNotFoundError as error:
        raise SourceUnreadable(f"{path} does not exist; give the path of a media file, or `pattern`") from error
    except av.error.FFmpegError as error:
        raise SourceUnreadable(f"{path} cannot be read: {error.strerror}; give a media file") from error
    except OSError as error:
        raise SourceUnreadable(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SourceUnreadable(f"{str(path)!r} cannot be a path: {error}; give the path of a media file") from error


def _require_decoders(container: InputContainer, path: Path) -> None:
    """Raises SourceUnreadable where nothing here decodes the video or the sound."""
    index = video_index(container)
    for stream in (*container.streams.audio[:1], *(() if index is None else (container.streams[index],))):
        if stream.codec_context is None:
            raise SourceUnreadable(f"nothing here decodes the {stream.type} of {path}; encode it anew")


def video_format(container: InputContainer) -> VideoFormat | None:
    """Even sides and frames a second of that stream; None without one."""
    index = video_index(container)
    if index is None:
        return None
    stream = container.streams.video[[item.index for item in container.streams.video].index(index)]
    rate = stream.average_rate or stream.guessed_rate
    fps = float(rate) if rate and 0 < rate <= MAXIMUM_FPS else DEFAULT_FPS
    return VideoFormat(stream.width & ~1, stream.height & ~1, fps)


def _audio_format(container: InputContainer) -> AudioFormat | None:
    if not container.streams.audio:
        return None
    return AudioFormat(channels=max(1, min(MAXIMUM_CHANNELS, container.streams.audio[0].channels)))


def _duration_s(container: InputContainer) -> float:
    if container.duration:
        return container.duration / av.time_base
    ends = [
        float(stream.duration * stream.time_base)
        for stream in (*container.streams.video, *container.streams.audio)
        if stream.duration and stream.time_base
    ]
    return max(ends, default=0.0)


def _joined_length_s(path: Path) -> float:
    with open_container(path) as container:
        return length_s(container)


def start_s(container: InputContainer) -> float:
    """The time at which the file's presentation begins, in seconds."""
    return container.start_time / av.time_base if container.start_time else 0.0


def _video_frames(container: InputContainer, path: Path) -> Iterator[DecodedVideoFrame]:
    index = video_index(container)
    size = video_format(container)
    if index is None or size is None:
        return
    begin_s, last_pts_s = start_s(container), -1.0 / size.fps
    turn: Turn | None = None
    for frame in _decoded(container, index, path, VideoFrame):
        pts_s = frame.time - begin_s if frame.pts is not None else last_pts_s + 1.0 / size.fps
        last_pts_s = max(0.0, last_pts_s, pts_s)
        picture = frame.reformat(width=size.width, height=size.height, format="yuv420p")
        if turn is None:
            turn = _turn_of(frame)
        data = turned(picture.to_ndarray().tobytes(), size.width, size.height, turn)
        width, height = (size.height, size.width) if turn.quarters % 2 else (size.width, size.height)
        yield DecodedVideoFrame(width, height, data, last_pts_s)


def _turn_of(frame: VideoFrame) -> Turn:
    # PyAV declares a dictionary with one key, and gives all side data by type.
    matrix = cast("Mapping[Type, SideData]", frame.side_data).get(Type.DISPLAYMATRIX)
    return AS_IT_LIES if matrix is None else turn_of(bytes(matrix))


def first_turn(path: Path) -> Turn:
    """What is to be done to the first picture when it is shown; nothing without pictures. Raises SourceUnreadable."""
    with open_container(path) as container:
        index = video_index(container)
        frame = None if index is None else next(_decoded(container, index, path, VideoFrame), None)
        return _turn_of(frame) if frame else AS_IT_LIES


def _audio_chunks(container: InputContainer, path: Path) -> Iterator[DecodedAudio]:
    wanted = _audio_format(container)
    if wanted is None:
        return
    line = SoundLine(wanted, 0.0 if may_start_anew(container) else _duration_s(container))
    begin_s, index = start_s(container), container.streams.audio[0].index
    resampler: AudioResampler | None = None
    kind: tuple[str, str, int] | None = None
    for frame in _decoded(container, index, path, AudioFrame):
        time_s = frame.time - begin_s if frame.time is not None else None
        jump_s = line.jump_s(time_s, frame.samples / frame.sample_rate)
        kind_before, kind = kind, (frame.format.name, frame.layout.name, frame.sample_rate)
        if jump_s or kind != kind_before:
            yield from line.add(_resampled(resampler, None))
            resampler = _resampler(wanted)
            yield from line.jump(jump_s)
        yield from line.add(_resampled(resampler, frame))
    yield from line.add(_resampled(resampler, None))
    yield from line.rest()


def _resampler(wanted: AudioFormat) -> AudioResampler:
    """For frames of one format, layout and rate; it takes no others."""
    return AudioResampler(format="s16", layout="mono" if wanted.channels == 1 else "stereo", rate=wanted.sample_rate)


def _resampled(resampler: AudioResampler | None, frame: AudioFrame | None) -> bytes:
    """The samples that `frame` gives, or without one those that the resampler holds."""
    frames = resampler.resample(frame) if resampler else []
    return b"".join(each.to_ndarray().tobytes() for each in frames)


def _decoded(container: InputContainer, index: int, path: Path, wanted: type[F]) -> Iterator[F]:
    """Frames of one stream. Damaged packets are skipped; too many in a row end the source."""
    damaged_in_a_row = damaged = 0
    packets = packets_of(container, index)
    while True:
        try:
            packet = next(packets, None)
            frames = packet.decode() if packet is not None else []
        except av.error.EOFError:
            break
        except av.error.FFmpegError as error:
            damaged += 1
            damaged_in_a_row += 1
            if damaged_in_a_row > DAMAGE_LIMIT:
                raise SourceUnreadable(f"{path} is damaged: {error.strerror}; nothing more of it decodes") from error
            continue
        if packet is None:
            break
        for frame in frames:
            if isinstance(frame, wanted):
                damaged_in_a_row = 0
                yield frame
    if damaged:
        log.warning("source_damaged", path=str(path), packets_skipped=damaged)
