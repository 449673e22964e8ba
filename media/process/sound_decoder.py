"""Decodes short runs of Opus packets, to hear how loud they are."""

import av
import numpy as np
from av import AudioFrame
from av.audio.codeccontext import AudioCodecContext
from av.error import FFmpegError
from numpy.typing import NDArray

from media.errors import RtpError
from media.rtp.sound_sample import SoundRun

_STEREO = 0x04  # of the first byte of a packet (RFC 6716 section 3.1)
_FULL_SCALE = 32_768


class SoundDecoder:
    """One track's decoder."""

    def __init__(self) -> None:
        self._context = _context()

    def decode(self, run: SoundRun) -> list[NDArray[np.int16]]:
        """The sound of each packet but the settling ones: 16-bit samples at 48 kHz, one channel after the other.

        What is beyond full scale is cut off. Raises RtpError; the next run is decoded all the same.
        """
        self._context.flush_buffers()
        try:
            heard = [
                _channels(frame, packet)
                for number, packet in enumerate(run.packets)
                for frame in self._context.decode(av.Packet(packet))
                if number >= run.settling
            ]
        except FFmpegError as error:
            self._context = _context()
            raise RtpError(f"a packet is no Opus ({error}); look at its sender's encoder") from error
        return _as_16_bits(heard)


def _channels(frame: AudioFrame, packet: bytes) -> NDArray[np.float32]:
    # A packet of one channel comes out as two that are the same.
    planes = frame.planes if packet[0] & _STEREO else frame.planes[:1]
    return np.concatenate([np.frombuffer(bytes(plane), np.float32, frame.samples) for plane in planes])


def _as_16_bits(heard: list[NDArray[np.float32]]) -> list[NDArray[np.int16]]:
    """All of them at once, for a quarter of the time."""
    if not heard:
        return []
    together = np.concatenate(heard) * np.float32(_FULL_SCALE)
    np.clip(np.rint(together, out=together), -_FULL_SCALE, _FULL_SCALE - 1, out=together)
    return np.split(together.astype(np.int16), np.cumsum([each.size for each in heard[:-1]]))


def _context() -> AudioCodecContext:
    # FFmpeg's own: libopus, as libwebrtc has it, rounds off what is beyond full scale, and hides that it was clipped.
    context = av.CodecContext.create("opus", "r")
    assert isinstance(context, AudioCodecContext)
    context.sample_rate, context.layout = 48_000, "stereo"
    return context
