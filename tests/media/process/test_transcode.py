"""Any video into H.264, one picture for one."""

import io
from collections.abc import Iterable, Iterator
from dataclasses import replace

import av
import pytest

from media.errors import UnsupportedCodec
from media.frames import Codec, EncodedFrame
from media.process.transcode import CodedPicture, H264Picture, H264Transcoder
from tests.media.export.recordings import SMALL, SMALLER, encode_video


def pictures(frames: Iterable[EncodedFrame]) -> Iterator[CodedPicture]:
    for frame in frames:
        yield CodedPicture(frame.data, frame.rtp_timestamp, frame.codec, b"")


def decode(transcoder: H264Transcoder, encoded: list[H264Picture]) -> list[av.VideoFrame]:
    with av.open(io.BytesIO(transcoder.init_segment), "r", format="mp4") as container:
        extradata = container.streams.video[0].codec_context.extradata
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.extradata = extradata
    frames = [frame for picture in encoded for frame in decoder.decode(av.Packet(picture.data))]
    return [*frames, *decoder.decode(None)]


def test_every_picture_comes_out_once_at_its_own_time() -> None:
    uneven = [
        replace(frame, rtp_timestamp=frame.rtp_timestamp + 700 * (index % 5) + 90_000 * (index > 30))
        for index, frame in enumerate(encode_video(Codec.VP8, 0.0, 2.0))
    ]
    transcoder = H264Transcoder(*SMALL)
    encoded = list(transcoder.run(pictures(uneven)))
    assert [picture.time for picture in encoded] == [frame.rtp_timestamp for frame in uneven]
    assert encoded[0].sync
    assert len(decode(transcoder, encoded)) == len(uneven)
    assert transcoder.concealed == 0


def test_pictures_of_another_size_are_scaled_to_the_canvas() -> None:
    frames = encode_video(Codec.VP8, 0.0, 0.4) + encode_video(Codec.VP8, 0.4, 0.4, SMALLER)
    transcoder = H264Transcoder(*SMALL)
    decoded = decode(transcoder, list(transcoder.run(pictures(frames))))
    assert {(frame.width, frame.height) for frame in decoded} == {SMALL}
    assert len(decoded) == len(frames)


def test_another_shape_is_centered_on_black() -> None:
    square = encode_video(Codec.VP8, 0.0, 0.08, (120, 120))
    transcoder = H264Transcoder(320, 120)
    (first, *_) = decode(transcoder, list(transcoder.run(pictures(square))))
    luma = first.to_ndarray(format="gray")
    assert luma[:, 10].mean() < 30
    assert luma[100:, 160].mean() > 140


def test_a_picture_that_cannot_be_decoded_is_replaced_and_counted() -> None:
    frames = list(pictures(encode_video(Codec.VP8, 0.0, 0.4)))
    frames[0] = CodedPicture(b"\x00\x00\x00", frames[0].time, Codec.VP8, b"")
    transcoder = H264Transcoder(*SMALL)
    encoded = list(transcoder.run(iter(frames)))
    assert [picture.time for picture in encoded] == [picture.time for picture in frames]
    assert transcoder.concealed >= 1


def test_h264_whose_size_changes_in_band_goes_on() -> None:
    first, second = encode_video(Codec.H264, 0.0, 0.4), encode_video(Codec.H264, 0.4, 0.4, SMALLER)
    transcoder = H264Transcoder(*SMALL)
    # Without extradata the decoder expects start codes.
    coded = [
        CodedPicture(b"\x00\x00\x00\x01".join(_nals(frame.data)), frame.rtp_timestamp, Codec.H264, b"")
        for frame in (*first, *second)
    ]
    assert len(list(transcoder.run(iter(coded)))) == 20
    assert transcoder.concealed == 0


def _nals(data: bytes) -> list[bytes]:
    nals = [b""]
    while data:
        size = int.from_bytes(data[:4], "big")
        nals.append(data[4 : 4 + size])
        data = data[4 + size :]
    return nals


def test_audio_is_no_video() -> None:
    with pytest.raises(UnsupportedCodec):
        list(H264Transcoder(*SMALL).run([CodedPicture(b"x", 0, Codec.OPUS, b"")]))
