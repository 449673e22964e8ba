"""Which tracks of a recording are shown together while it goes on, and the playlist that says so (pure)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from media.errors import LiveNotReady, LiveUnsupported
from media.frames import MediaKind
from media.package.hls import AudioRendition, MultivariantPlaylist, Variant, peak_bandwidth_bps
from media.package.live_playlist import LiveSegment, PartHint
from media.record.entries import InitEntry, TrackDescriptor

LAG_S = 3.0
"""A track whose media end so much before its program's newest is muted or over: who waits for it stalls. Programs are
compared by it too: which of those that go on got the last part says nothing."""

_RATED_SEGMENTS = 10
"""The bandwidth told is that of the newest segments: what a player will get, not what it was an hour ago."""

_SCREEN_SOURCES = frozenset({"screen_share", "screen_share_audio"})


@dataclass(frozen=True, slots=True)
class LiveTrackView:
    """A recorded track as far as it is on disk. `playable`: its container is fMP4, which HLS can carry.

    `init`: the newest init segment. `ended`: it gets no more media, else `hint` is where the next part will be.
    """

    number: int
    descriptor: TrackDescriptor
    segments: tuple[LiveSegment, ...]
    init: InitEntry | None
    ended: bool
    playable: bool
    hint: PartHint | None

    @property
    def end_s(self) -> float | None:
        """Media time of its end; None while it has no media that could be played."""
        return self.segments[-1].end_s if self.segments else None


@dataclass(frozen=True, slots=True)
class LiveProgram:
    """Tracks of one participant that belong together. `source`: "camera" (with the microphone) or "screen_share".

    `video` and `audio` are those to play now, `problem` why there is nothing to play or no picture. `ended`: none of
    its tracks gets media any more; `end_s`: media time of its newest media, 0.0 while it has none.
    """

    participant_identity: str
    source: str
    video: LiveTrackView | None
    audio: LiveTrackView | None
    end_s: float
    problem: str = ""
    ended: bool = False


def live_programs(tracks: Iterable[LiveTrackView], *, whole: bool = False) -> tuple[LiveProgram, ...]:
    """The programs of a recording: those that go on first, then by their newest media, then those with a picture.

    `whole`: they are played from their start on. Then the track of each kind that has most media is taken, muted at
    the end or not, and where a program ends says nothing.
    """
    found: dict[tuple[str, str], list[LiveTrackView]] = {}
    for track in tracks:
        source = "screen_share" if track.descriptor.source in _SCREEN_SOURCES else "camera"
        found.setdefault((track.descriptor.participant_identity, source), []).append(track)
    programs = [_program(identity, source, mine, whole=whole) for (identity, source), mine in found.items()]
    newest_s = 0.0 if whole else max((item.end_s for item in programs), default=0.0)
    return tuple(sorted(programs, key=lambda item: _rank(item, newest_s - item.end_s)))


def _rank(program: LiveProgram, behind_s: float) -> tuple[bool, float, bool, bool, str, str]:
    return (
        program.ended,
        behind_s if behind_s >= LAG_S else 0.0,
        program.video is None,
        bool(program.problem),
        program.participant_identity,
        program.source,
    )


def choose_program(
    programs: Sequence[LiveProgram], participant_identity: str | None, source: str | None
) -> LiveProgram:
    """The program asked for, or the first. Raises LiveNotReady when there is none (yet)."""
    for program in programs:
        if participant_identity in {None, program.participant_identity} and source in {None, program.source}:
            return program
    who = "nobody" if participant_identity is None else repr(participant_identity)
    raise LiveNotReady(f"{who} has no media in this recording yet; wait until the first part of a track is on disk")


def multivariant(program: LiveProgram, query: str = "", *, audio_only: bool = False) -> MultivariantPlaylist:
    """The playlist that a player opens. URIs are `<track>/playlist.m3u8` with `query` behind them.

    Raises LiveUnsupported when what it shows does not fit HLS, LiveNotReady before there are media.
    """
    if audio_only:
        program = replace(program, video=None, problem="")
    if program.problem:
        raise LiveUnsupported(program.problem)
    shown = [track for track in (program.video, program.audio) if track is not None]
    if not shown:
        raise LiveNotReady("no media of this participant are on disk yet; wait for the first part")
    main, size = shown[0], program.video.init if program.video else None
    with_audio = program.video is not None and program.audio is not None
    variant = Variant(
        uri=_uri(main, query),
        bandwidth_bps=sum(_peak_bps(track) for track in shown),
        average_bandwidth_bps=sum(_average_bps(track) for track in shown),
        codecs=tuple(track.init.codec_string for track in shown if track.init),
        width=size.width if size else 0,
        height=size.height if size else 0,
        audio_group="audio" if with_audio else "",
    )
    renditions = (AudioRendition(_uri(program.audio, query), "Audio"),) if with_audio and program.audio else ()
    return MultivariantPlaylist((variant,), renditions)


def _program(identity: str, source: str, tracks: Sequence[LiveTrackView], *, whole: bool) -> LiveProgram:
    end_s = max((track.end_s for track in tracks if track.end_s is not None), default=0.0)
    present = [track for track in tracks if track.init is not None and _counts(track, end_s, whole=whole)]
    best = _longest if whole else _newest
    video, audio = (best(present, kind) for kind in (MediaKind.VIDEO, MediaKind.AUDIO))
    ended = all(track.ended for track in tracks)
    return LiveProgram(identity, source, video, audio, end_s, _problem(tracks, video), ended)


def _counts(track: LiveTrackView, end_s: float, *, whole: bool) -> bool:
    """Whether it has media, and where what goes on now is played, up to now."""
    return track.end_s is not None and (whole or track.end_s > end_s - LAG_S)


def _problem(tracks: Sequence[LiveTrackView], video: LiveTrackView | None) -> str:
    """Why the picture cannot be shown: its newest track is in a codec that HLS does not carry."""
    pictures = [track for track in tracks if track.descriptor.kind is MediaKind.VIDEO]
    unfit = next((t for t in reversed(pictures) if not t.playable and not t.ended), None)
    unfit = unfit or (pictures[-1] if pictures and not any(t.playable for t in pictures) else None)
    if unfit is None or video is not None:
        return ""
    codec = unfit.descriptor.codec.value.upper()
    return (
        f"track {unfit.number} of {unfit.descriptor.participant_identity} is {codec}, which HLS does not carry; "
        "publish H.264 or AV1, listen to the sound alone with audio_only=true, or export the recording"
    )


def _newest(tracks: Sequence[LiveTrackView], kind: MediaKind) -> LiveTrackView | None:
    mine = [track for track in tracks if track.descriptor.kind is kind]
    return max(mine, key=lambda item: (not item.ended, item.end_s or 0.0, item.number), default=None)


def _longest(tracks: Sequence[LiveTrackView], kind: MediaKind) -> LiveTrackView | None:
    mine = [track for track in tracks if track.descriptor.kind is kind]
    return max(mine, key=lambda item: (_media_s(item), item.number), default=None)


def _media_s(track: LiveTrackView) -> float:
    return sum(segment.duration_s for segment in track.segments if not segment.gap)


def _uri(track: LiveTrackView, query: str) -> str:
    return f"{track.number}/playlist.m3u8{query}"


def _rated(track: LiveTrackView) -> list[LiveSegment]:
    return [segment for segment in track.segments[-_RATED_SEGMENTS:] if segment.duration_s > 0 and not segment.gap]


def _peak_bps(track: LiveTrackView) -> int:
    rated = _rated(track)
    target_s = max((segment.duration_s for segment in rated), default=1.0)
    return peak_bandwidth_bps([s.size_bytes for s in rated], [s.duration_s for s in rated], target_s)


def _average_bps(track: LiveTrackView) -> int:
    rated = _rated(track)
    return round(8 * sum(s.size_bytes for s in rated) / max(0.001, sum(s.duration_s for s in rated)))
