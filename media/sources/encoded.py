"""A media file's video as it is encoded, and its sound decoded: nothing of the picture is coded again."""

import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import av.error
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer

from media.bitstream.nal import annex_b_units
from media.errors import SourceUnreadable
from media.sources.file import MediaFile, first_turn, start_s, video_format
from media.sources.packets import packets_of, video_index
from media.sources.source import AccessUnit, DecodedVideoFrame

CODECS = ("h264", "vp8")
LOOKED_AT = 300  # ten seconds, more or less: encoders that make B-frames make them from the start
SPACING_S = 0.002  # WebRTC drops a picture that has the millisecond of the one before
_SLICES = range(1, 6)  # nal_unit_type of coded slices, ITU-T H.264 table 7-1


class EncodedFileSource(MediaFile[AccessUnit]):
    """A file's video as it is encoded, and its sound decoded.

    H.264 and VP8 in any container that FFmpeg reads (MP4, Matroska, WebM), without B-frames and neither to be turned
    nor mirrored: WebRTC shows pictures in the order in which they come, and as they lie. Raises SourceUnreadable where
    the file is nothing of that kind; B-frames are looked for in the first `LOOKED_AT` pictures, and tell themselves
    later where they come later.
    """

    def __init__(self, path: Path, *, loop: bool = False) -> None:
        super().__init__(path, _access_units, loop=loop)

    def _look_at(self, probe: InputContainer, path: Path) -> None:
        self._codec = _codec(probe, path)
        stream = probe.streams[video_index(probe) or 0]
        self._bitrate_bps = float(getattr(stream, "bit_rate", 0) or probe.bit_rate or 0)
        if first_turn(path):
            raise SourceUnreadable(
                f"{path} is to be turned or mirrored when it is shown (phones film so), which WebRTC does not tell; "
                "publish it encoded anew"
            )
        for _ in islice(_access_units(probe, path), LOOKED_AT):
            pass

    @property
    def codec(self) -> str:
        """One of CODECS."""
        return self._codec

    @property
    def bitrate_bps(self) -> float:
        """Of the video stream, or of the whole file where that does not say; 0 where neither does."""
        return self._bitrate_bps

    def read_video(self) -> DecodedVideoFrame | None:
        """Nothing is decoded."""
        return None

    def read_access_unit(self) -> AccessUnit | None:
        """The next picture as it is encoded."""
        return self._video_reader.read() if self._video_reader else None


def _codec(container: InputContainer, path: Path) -> str:
    index = video_index(container)
    name = container.streams[index].codec_context.name if index is not None else ""
    # Decoders may be other than FFmpeg's own: libvpx is one for vp8.
    codec = next((each for each in CODECS if each in name), None)
    if codec is None:
        raise SourceUnreadable(
            f"{path} has {name or 'no video'}; only {' and '.join(CODECS)} are published as they are; "
            "publish it encoded anew"
        )
    return codec


def _access_units(container: InputContainer, path: Path) -> Iterator[AccessUnit]:
    index, size, codec = video_index(container), video_format(container), _codec(container, path)
    assert index is not None
    assert size is not None
    annex_b = BitStreamFilterContext("h264_mp4toannexb", container.streams[index]) if codec == "h264" else None
    begin_s, last_s, seen_key = start_s(container), -math.inf, False
    shown_s = -SPACING_S
    try:
        for packet in packets_of(container, index):
            for each in annex_b.filter(packet) if annex_b and packet.size else [packet]:
                if not each.size or each.pts is None or each.time_base is None:
                    continue
                seen_key = seen_key or each.is_keyframe
                if not seen_key:
                    continue
                pts_s = float(each.pts * each.time_base) - begin_s
                if pts_s <= last_s:
                    raise SourceUnreadable(
                        f"{path} has B-frames, which WebRTC does not show in order; publish it encoded anew"
                    )
                last_s = pts_s
                # Trimmed files begin with what comes before their start, which the rest refers to.
                shown_s = max(pts_s, shown_s + SPACING_S)
                data = bytes(each)
                droppable = _droppable(data, codec, disposable=each.is_disposable)
                yield AccessUnit(size.width, size.height, data, shown_s, each.is_keyframe, droppable)
    except av.error.FFmpegError as error:
        raise SourceUnreadable(f"{path} is damaged: {error.strerror}; nothing more of it can be read") from error


def _droppable(data: bytes, codec: str, *, disposable: bool) -> bool:
    """Whether no other picture refers to it, as the container or the slices' nal_ref_idc (H.264 7.4.1) say."""
    if disposable:
        return True
    if codec != "h264":
        return False
    slices = [nal[0] for nal in annex_b_units(data) if nal[0] & 0x1F in _SLICES]
    return bool(slices) and all(first >> 5 & 3 == 0 for first in slices)
