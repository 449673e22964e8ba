"""Real Opus of sounds whose truth is known: 20 ms a packet, as WebRTC sends it."""

import functools

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from numpy.typing import NDArray

HZ = 48_000
PACKET = 960
PACKETS_PER_S = 50


def tone(seconds: float, amplitude: float = 8_000.0) -> NDArray[np.int16]:
    """A sine of 440 Hz; what is over full scale is clipped."""
    wave = amplitude * np.sin(2 * np.pi * 440 * np.arange(round(seconds * HZ)) / HZ)
    return np.clip(np.round(wave), -32_768, 32_767).astype(np.int16)


def silence(seconds: float) -> NDArray[np.int16]:
    """Digital silence."""
    return np.zeros(round(seconds * HZ), np.int16)


def dither(seconds: float, steps: int = 1) -> NDArray[np.int16]:
    """The last bit of a microphone that gives nothing; some steps more are a quiet room."""
    return np.random.default_rng(1).integers(-steps, steps + 1, round(seconds * HZ)).astype(np.int16)


def encode(samples: NDArray[np.int16], *, stereo: bool = False, constant: bool = False) -> tuple[bytes, ...]:
    """Packets of `samples` (one channel; both are the same with `stereo`), all of 80 bytes with `constant`."""
    return _encode(samples.tobytes(), stereo=stereo, constant=constant)


@functools.cache
def _encode(samples: bytes, *, stereo: bool, constant: bool) -> tuple[bytes, ...]:
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, AudioCodecContext)
    layout = "stereo" if stereo else "mono"
    encoder.sample_rate, encoder.layout, encoder.format, encoder.bit_rate = HZ, layout, "s16", 32_000
    encoder.options = {"application": "voip", "vbr": "off" if constant else "on"}
    packets: list[bytes] = []
    mono = np.frombuffer(samples, np.int16)
    for at in range(0, mono.size - PACKET + 1, PACKET):
        sound = np.repeat(mono[at : at + PACKET], 2 if stereo else 1).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(sound, format="s16", layout=layout)
        frame.sample_rate, frame.pts = HZ, at
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return tuple(packets)
