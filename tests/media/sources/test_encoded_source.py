"""Files whose video is taken as it is encoded, on files that FFmpeg wrote a moment before."""

from itertools import pairwise
from pathlib import Path

import av
import pytest

from media.bitstream.nal import annex_b_units
from media.errors import SourceUnreadable
from media.sources.encoded import EncodedFileSource
from media.sources.open import open_source
from media.sources.source import AudioFormat, PreEncodedSource
from tests.media.sources.clips import VIDEO, transport_stream, trimmed, write_encoded, write_pattern


@pytest.mark.parametrize(("codec", "name"), [("h264", "clip.mp4"), ("h264", "clip.mkv"), ("vp8", "clip.webm")])
def test_every_picture_comes_as_it_is_encoded_with_its_time(tmp_path: Path, codec: str, name: str) -> None:
    path = write_encoded(tmp_path / name, codec=codec)
    source = open_source(str(path), pre_encoded=True)
    assert isinstance(source, PreEncodedSource)
    assert (source.codec, source.video, source.audio) == (codec, VIDEO, None)
    assert source.bitrate_bps > 0
    assert source.read_video() is None
    units = list(iter(source.read_access_unit, None))
    source.close()
    assert [round(unit.pts_s, 2) for unit in units] == [round(number / 25, 2) for number in range(50)]
    assert [number for number, unit in enumerate(units) if unit.key] == [0, 25]
    decoder = av.CodecContext.create(codec, "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoded = [frame for unit in units for frame in decoder.decode(av.Packet(unit.data))] + decoder.decode(None)
    assert len(decoded) == 50
    if codec == "h264":
        assert all(unit.data.startswith(b"\x00\x00") for unit in units)
        kinds = [nal[0] & 0x1F for nal in annex_b_units(units[25].data)]
        assert {7, 8, 5} <= set(kinds), "parameter sets go before each key frame"


def test_looping_goes_on_and_time_keeps_rising(tmp_path: Path) -> None:
    source = EncodedFileSource(write_encoded(tmp_path / "clip.mp4"), loop=True)
    units = [source.read_access_unit() for _ in range(120)]
    source.close()
    assert source.read_access_unit() is None
    times = [unit.pts_s for unit in units if unit]
    assert len(times) == 120
    assert times == sorted(set(times))
    assert units[50] is not None
    assert units[50].key
    assert times[50] == pytest.approx(2.0, abs=0.05)


def test_what_comes_before_the_start_of_a_trimmed_file_comes_at_once(tmp_path: Path) -> None:
    whole = write_encoded(tmp_path / "whole.mp4", seconds=3.0, key_frame_every=100)
    source = EncodedFileSource(trimmed(whole, tmp_path / "trimmed.mp4", 2.0))
    units = list(iter(source.read_access_unit, None))
    source.close()
    times = [unit.pts_s for unit in units]
    assert (len(times), times[0], units[0].key) == (75, 0.0, True)
    assert min(after - before for before, after in pairwise(times)) >= 0.001, "each has a millisecond of its own"
    assert times[54:] == pytest.approx([number / 25 for number in range(4, 25)])


def test_parameter_sets_that_are_damaged_say_so(tmp_path: Path) -> None:
    path = write_encoded(tmp_path / "clip.mp4", seconds=0.2)
    content = bytearray(path.read_bytes())
    begin = content.index(b"avcC") + 4
    content[begin + 5 : begin + 8] = b"\xff" * 3  # more parameter sets, and longer, than there is
    path.write_bytes(content)
    with pytest.raises(SourceUnreadable, match=r"clip\.mp4 cannot be decoded: Invalid data"):
        EncodedFileSource(path)


def test_what_cannot_be_published_as_it_is_says_so(tmp_path: Path) -> None:
    ordered_otherwise = write_pattern(tmp_path / "b.mp4", seconds=1.0, audio=AudioFormat(48_000, 1))
    with pytest.raises(SourceUnreadable, match="B-frames"):
        EncodedFileSource(ordered_otherwise)
    with pytest.raises(SourceUnreadable, match="does not exist"):
        EncodedFileSource(tmp_path / "none.mp4")
    with pytest.raises(SourceUnreadable, match="pattern:640x360@25 is drawn here"):
        open_source("pattern:640x360@25", pre_encoded=True)
    with pytest.raises(SourceUnreadable, match="is to be turned or mirrored when it is shown"):
        EncodedFileSource(write_encoded(tmp_path / "phone.mp4", rotation=90))
    with pytest.raises(SourceUnreadable, match="is to be turned or mirrored when it is shown"):
        EncodedFileSource(write_encoded(tmp_path / "selfie.mp4", rotation=180, mirrored=True))
    with av.open(str(tmp_path / "other.mkv"), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuvj420p"
        container.mux(stream.encode(av.VideoFrame(320, 180, "yuvj420p")))
        container.mux(stream.encode(None))
    with pytest.raises(SourceUnreadable, match="mjpeg; only h264 and vp8"):
        EncodedFileSource(tmp_path / "other.mkv")


def test_transport_streams_put_one_behind_the_other_go_on(tmp_path: Path) -> None:
    part = transport_stream(write_encoded(tmp_path / "part.mp4", seconds=2.0), tmp_path / "part.ts").read_bytes()
    (tmp_path / "joined.ts").write_bytes(part * 2)
    source = EncodedFileSource(tmp_path / "joined.ts")
    times = [unit.pts_s for unit in iter(source.read_access_unit, None)]
    source.close()
    assert times == pytest.approx([number / 25 for number in range(100)], abs=0.1)
    assert all(later - earlier > 0.02 for earlier, later in pairwise(times))


def test_b_frames_that_come_late_tell_themselves_when_they_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("media.sources.encoded.LOOKED_AT", 1)
    source = EncodedFileSource(write_pattern(tmp_path / "b.mp4", seconds=1.0, audio=AudioFormat(48_000, 1)))
    assert source.audio == AudioFormat(48_000, 1)
    with pytest.raises(SourceUnreadable, match="B-frames"):
        list(iter(source.read_access_unit, None))
    source.close()


def test_annex_b_units_are_those_between_start_codes() -> None:
    data = b"\x00\x00\x00\x01\x67\x01\x00\x00\x00\x01\x68\x02\x00\x00\x01\x65\x03\x00"
    assert list(annex_b_units(data)) == [b"\x67\x01", b"\x68\x02", b"\x65\x03"]
    assert list(annex_b_units(b"none")) == []
