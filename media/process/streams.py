"""The streams of an output: recorded samples with output times, copied or transcoded, holes in the audio filled."""

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import av
from av.error import FFmpegError

from media.errors import RecordingDamaged, RtpError, UnsupportedCodec
from media.frames import Codec, MediaKind
from media.process.audio_pacing import SILENCE_PACKETS, AudioPacer, Placement
from media.process.avc import avc_codec_string
from media.process.output import Handling, OutputTrack
from media.process.published import (
    OUT_OF_BAND_ENTRIES,
    published_codec_string,
    published_init,
    without_parameter_sets,
)
from media.process.samples import WEBM_TOLERANCE_S, RecordedSample, read_samples
from media.process.timeline import Program, Retimer, TrackPart, track_start_s
from media.process.transcode import TIMESCALE, CodedPicture, H264Transcoder
from media.record.entries import Container, InitEntry
from media.record.reader import RecordingView, TrackView
from media.record.storage import translated
from media.rtp.depacketise.opus import opus_duration

_COPYABLE = frozenset({Codec.H264, Codec.H265, Codec.VP9, Codec.AV1})
"""What players of MP4 and of HLS with fMP4 segments (Media Source Extensions) decode. VP8 is not among it."""

_OUT_OF_BAND = frozenset({Codec.H264, Codec.H265, Codec.AV1})
"""Codecs whose init segment has a decoder configuration; frames of the others say all themselves."""

# The duration of a sample has 32 bits: at TIMESCALE no picture can last for more than 13 hours.
_LONGEST_TAIL_S = 12 * 3600.0

# Browsers stop 3 s into a picture unless they have the next one, and load what comes some 30 s later or less.
_LONGEST_WITHOUT_NEXT_S = 20.0


@dataclass(frozen=True, slots=True)
class TimedSample:
    """A sample of an output. Times are ticks of its stream's timescale from the output's zero.

    `init` is the index of its init segment in `OutputStream.inits`.
    """

    data: bytes
    time: int
    duration: int
    sync: bool
    init: int = 0


@dataclass(slots=True)
class Tally:
    """What went through a stream so far; all of it once the stream is used up."""

    silence_packets: int = 0
    skipped_packets: int = 0
    concealed_frames: int = 0
    repeated_pictures: int = 0
    clock_lag_s: float = 0.0
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)


@dataclass(frozen=True, slots=True)
class StreamInit:
    """The decoder configuration of a part of a stream: a whole fMP4 init segment and what it describes."""

    init_segment: bytes
    codec_string: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class OutputStream:
    """One track of an output. `samples` can be gone through once; `tally` fills as that is done.

    `start_s` and `end_s` are where it lies by the journal, in seconds from the output's zero.
    """

    kind: MediaKind
    codec: Codec
    timescale: int
    handling: Handling
    reason: str
    inits: tuple[StreamInit, ...]
    samples: Iterator[TimedSample]
    tally: Tally
    lane: tuple[TrackPart, ...]
    recorded_samples: int
    start_s: float
    end_s: float

    def report(self) -> OutputTrack:
        """What the track must be, once `samples` is used up."""
        return OutputTrack(
            kind=self.kind,
            codec=self.codec,
            handling=self.handling,
            reason=self.reason,
            recorded_tracks=tuple(part.number for part in self.lane),
            samples=self.recorded_samples - self.tally.skipped_packets,
            silence_packets=self.tally.silence_packets,
            concealed_frames=self.tally.concealed_frames,
            payload_sha256=self.tally.digest.hexdigest() if self.handling is Handling.COPIED else "",
            start_s=self.start_s,
            duration_s=self.end_s - self.start_s,
            clock_lag_s=self.tally.clock_lag_s,
            width=max(init.width for init in self.inits),
            height=max(init.height for init in self.inits),
            skipped_packets=self.tally.skipped_packets,
            repeated_pictures=self.tally.repeated_pictures,
        )


_Placed = tuple[RecordedSample, int, int]
"""A recorded sample with its output time and duration."""


class ProgramReader:
    """Opens the streams of one program. Output time zero is where its first track starts.

    `on_progress` hears the share (0..1) of the recording's samples that have been read. Stream iterators raise
    RecordingDamaged and StorageError.
    """

    def __init__(self, view: RecordingView, program: Program, on_progress: Callable[[float], None]) -> None:
        self._view = view
        self._tracks = {track.number: track for track in view.tracks}
        self._program = program
        self._on_progress = on_progress
        self._read = 0
        lanes = (*program.video, *program.audio)
        self.origin_s = min(track_start_s(self._tracks[part.number]) for part in lanes)
        self.end_s = max(self._end_s(part) for part in lanes)
        self._total = sum(self._samples(part) for part in lanes)

    def audio(self, *, for_segments: bool) -> OutputStream | None:
        """The audio, copied, from the output's zero on; holes are filled with silence. None without any.

        `for_segments`, silence also follows up to where the video ends.
        """
        lane = self._program.audio
        if not lane:
            return None
        inits = self._inits(lane)
        if any(init.codec is not Codec.OPUS for init in inits):
            raise UnsupportedCodec("only Opus audio can be exported")
        tally = Tally()
        end_s = self._output_end_s(lane, for_segments=for_segments)
        packets = self._audio_samples(lane, tally, round(end_s * Codec.OPUS.clock_rate) if for_segments else 0)
        return OutputStream(
            kind=MediaKind.AUDIO,
            codec=Codec.OPUS,
            timescale=Codec.OPUS.clock_rate,
            handling=Handling.COPIED,
            reason="",
            inits=(self._stream_init(inits[0]),),
            samples=_with_durations(packets),
            tally=tally,
            lane=lane,
            recorded_samples=sum(self._samples(part) for part in lane),
            start_s=0.0,
            end_s=end_s,
        )

    def video(self, *, for_segments: bool) -> OutputStream | None:
        """The video: H.264, H.265, VP9 and AV1 are copied, everything else transcoded to H.264. None without any.

        In one file, H.264 and H.265 whose size changes are transcoded too. `for_segments`, each size gets an init
        segment of its own, the first picture is shown from the output's zero on, however late it came, and the last
        one until the sound ends (`_held`).
        """
        lane = self._program.video
        if not lane:
            return None
        inits = self._inits(lane)
        reason = _why_transcode(inits, several_sizes=for_segments)
        tally = Tally()
        placed = self._placed(lane, tally, TIMESCALE, from_zero=for_segments)
        if reason:
            largest = max(inits, key=lambda init: init.width * init.height)
            transcoder = H264Transcoder(largest.width, largest.height)
            samples = self._transcoded(transcoder, placed, tally)
            codec_string = avc_codec_string(transcoder.init_segment)
            size = (transcoder.width, transcoder.height)
            stream_inits: tuple[StreamInit, ...] = (StreamInit(transcoder.init_segment, codec_string, *size),)
        else:
            configs = {init.path: (self._decoder_config(init), init.width, init.height) for init in inits}
            distinct = {configs[init.path]: init for init in inits}
            in_band = len(distinct) > 1
            indices = {path: list(distinct).index(config) for path, config in configs.items()}
            samples = _copied(placed, tally, indices, in_band=in_band)
            stream_inits = tuple(self._stream_init(init, in_band=in_band) for init in distinct.values())
        start_s = 0.0 if for_segments else track_start_s(self._tracks[lane[0].number]) - self.origin_s
        end_s = self._output_end_s(lane, for_segments=for_segments)
        return OutputStream(
            kind=MediaKind.VIDEO,
            codec=Codec.H264 if reason else inits[0].codec,
            timescale=TIMESCALE,
            handling=Handling.TRANSCODED if reason else Handling.COPIED,
            reason=reason,
            inits=stream_inits,
            samples=_held(samples, round(end_s * TIMESCALE), tally) if for_segments else _with_durations(samples),
            tally=tally,
            lane=lane,
            recorded_samples=sum(self._samples(part) for part in lane),
            start_s=start_s,
            end_s=end_s,
        )

    def _output_end_s(self, lane: tuple[TrackPart, ...], *, for_segments: bool) -> float:
        """Where a stream ends, from the output's zero.

        `for_segments`, all streams end together: players wait for more of one that ended before the others, for ever.
        """
        own_s = self._end_s(lane[-1])
        return (min(self.end_s, own_s + _LONGEST_TAIL_S) if for_segments else own_s) - self.origin_s

    def _end_s(self, part: TrackPart) -> float:
        track = self._tracks[part.number]
        return track.media_time_s(track.segments[part.segments - 1].end_decode_time)

    def _samples(self, part: TrackPart) -> int:
        return sum(entry.samples for entry in self._tracks[part.number].segments[: part.segments])

    def _inits(self, lane: tuple[TrackPart, ...]) -> list[InitEntry]:
        """The init segments in the order in which they come into force."""
        inits: dict[str, InitEntry] = {}
        for part in lane:
            track = self._tracks[part.number]
            for entry in track.segments[: part.segments]:
                inits[entry.init_path] = track.init_of(entry)
        return list(inits.values())

    def _stream_init(self, init: InitEntry, *, in_band: bool = False) -> StreamInit:
        data = published_init(init.codec, self._bytes_of(init), in_band=in_band)
        codec_string = published_codec_string(init.codec, init.codec_string, in_band=in_band)
        return StreamInit(data, codec_string, init.width, init.height)

    def _bytes_of(self, init: InitEntry) -> bytes:
        path = self._view.file_of(init)
        with translated(f"read {path}"):
            return path.read_bytes()

    def _decoder_config(self, init: InitEntry) -> bytes:
        """The decoder configuration in an init segment; nothing for codecs whose frames say all."""
        if init.codec not in _OUT_OF_BAND:
            return b""
        try:
            with av.open(io.BytesIO(self._bytes_of(init)), "r", format="mp4") as container:
                return container.streams[0].codec_context.extradata or b""
        except FFmpegError as error:
            raise RecordingDamaged(f"{init.path} cannot be read: {error}") from error

    def _placed(
        self, lane: tuple[TrackPart, ...], tally: Tally, timescale: int, *, from_zero: bool = False
    ) -> Iterator[_Placed]:
        retimer = Retimer(timescale, self.origin_s)
        first = True
        for part in lane:
            track = self._tracks[part.number]
            for sample in read_samples(self._view, track, part.segments):
                duration = _true_duration(sample, track)
                webm = sample.init.container is Container.WEBM
                tolerance = round(2 * WEBM_TOLERANCE_S * track.timescale) if webm else 0
                time = retimer.place(track, sample.decode_time, duration, tolerance=tolerance)
                yield sample, 0 if first and from_zero else time, round(duration * timescale / track.timescale)
                first = False
                tally.clock_lag_s = retimer.lag / timescale
                self._read += 1
                self._on_progress(self._read / self._total)

    def _audio_samples(self, lane: tuple[TrackPart, ...], tally: Tally, end: int) -> Iterator[TimedSample]:
        """Packets one after the other, with silence in holes and up to `end`.

        What a clock's drift adds up to goes in whole packets.
        """
        pacer = AudioPacer()
        for sample, time, duration in self._placed(lane, tally, Codec.OPUS.clock_rate):
            placement = pacer.place(time, duration, len(sample.data))
            if placement.skipped:
                tally.skipped_packets += 1
                continue
            yield from _silent(placement, tally)
            if sample.data not in SILENCE_PACKETS:
                tally.digest.update(sample.data)
            yield TimedSample(sample.data, placement.time, duration, sync=True)
        yield from _silent(pacer.fill(end), tally)

    def _transcoded(self, transcoder: H264Transcoder, placed: Iterator[_Placed], tally: Tally) -> Iterator[TimedSample]:
        configs: dict[str, bytes] = {}
        last_duration = 1

        def pictures() -> Iterator[CodedPicture]:
            nonlocal last_duration
            for sample, time, duration in placed:
                init = sample.init
                if init.path not in configs:
                    configs[init.path] = self._decoder_config(init)
                last_duration = duration
                yield CodedPicture(sample.data, time, init.codec, configs[init.path])

        for picture in transcoder.run(pictures()):
            yield TimedSample(picture.data, picture.time, last_duration, picture.sync)
        tally.concealed_frames = transcoder.concealed


def _silent(placement: Placement, tally: Tally) -> Iterator[TimedSample]:
    """The silence before what is placed."""
    at = placement.time - sum(samples for samples, _ in placement.silence)
    for samples, packet in placement.silence:
        tally.silence_packets += 1
        yield TimedSample(packet, at, samples, sync=True)
        at += samples


def _copied(
    placed: Iterator[_Placed], tally: Tally, indices: dict[str, int], *, in_band: bool
) -> Iterator[TimedSample]:
    """Video as recorded. `indices` gives the stream's init segment for each recorded one."""
    for sample, time, duration in placed:
        codec = sample.init.codec
        as_it_is = in_band or not sample.sync or codec not in OUT_OF_BAND_ENTRIES
        try:
            data = sample.data if as_it_is else without_parameter_sets(codec, sample.data)
        except ValueError as error:
            raise RecordingDamaged(f"a frame at decode time {sample.decode_time} is no {codec}: {error}") from error
        tally.digest.update(data)
        yield TimedSample(data, time, duration, sample.sync, indices[sample.init.path])


def _why_transcode(inits: list[InitEntry], *, several_sizes: bool) -> str:
    """Why video with these init segments cannot be copied into one track; empty when it can.

    VP9 and AV1 frames say their size themselves, and their decoders are made for one that changes. H.264 and H.265
    need new parameter sets for it, which players of a file take from its header only.
    """
    codecs = sorted({init.codec.value for init in inits})
    if len(codecs) > 1 or inits[0].codec not in _COPYABLE:
        return f"recorded as {', '.join(codecs)}"
    if any(init.container is Container.WEBM for init in inits):
        return f"recorded as {codecs[0]} in WebM"
    if inits[0].codec not in OUT_OF_BAND_ENTRIES:
        return ""
    sizes = sorted({(init.width, init.height) for init in inits})
    if len(sizes) > 1 and not several_sizes:
        listed = ", ".join(f"{width}x{height}" for width, height in sizes)
        return f"the picture size changes ({listed}), which few players of MP4 follow"
    return ""


def _true_duration(sample: RecordedSample, track: TrackView) -> int:
    """For Opus what the packet decodes to (DTX leaves holes between packets), else the distance to the next frame."""
    if sample.init.codec is Codec.OPUS:
        try:
            return opus_duration(sample.data) * track.timescale // Codec.OPUS.clock_rate or sample.duration
        except RtpError:
            return sample.duration
    return sample.duration


def _held(samples: Iterator[TimedSample], end: int, tally: Tally) -> Iterator[TimedSample]:
    """As `_with_durations`, the last up to `end`; each that lasts long has its next one in the same segment.

    That is the last sync sample once more, for a tick: it needs no other, and where no sync sample follows, nothing is
    put between samples that build on each other.
    """
    longest = _LONGEST_WITHOUT_NEXT_S * TIMESCALE

    def with_repeats() -> Iterator[TimedSample]:
        previous = sync = None
        for sample in samples:
            if previous and sync and sample.sync and sample.time - previous.time > longest:
                yield replace(sync, time=sample.time - 1, sync=False)
                tally.repeated_pictures += 1
            yield sample
            previous, sync = sample, sample if sample.sync else sync
        if previous and sync and end - previous.time > longest:
            yield replace(sync, time=end - 1, duration=1, sync=False)
            tally.repeated_pictures += 1

    return _with_durations(with_repeats(), end)


def _with_durations(samples: Iterator[TimedSample], end: int = 0) -> Iterator[TimedSample]:
    """Each sample lasts until the next; the last as long as it says, and at least up to `end`."""
    previous: TimedSample | None = None
    for sample in samples:
        if previous is not None:
            yield replace(previous, duration=sample.time - previous.time)
        previous = sample
    if previous is not None:
        yield replace(previous, duration=max(previous.duration, end - previous.time))
