"""How good speech over Opus sounds: the E-model of ITU-T G.107, with its defaults for whatever is not measured.

A rating R (0..93.2) starts at what a line of G.107's defaults gives and loses points to delay, to the codec and to lost
packets; MOS follows from it by the Recommendation's Annex B. The scale is the narrowband one, so that figures compare
with the server's MOS (`quality.score`); that Opus sounds better than a telephone at its best is not in it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from quality.score import mean_opinion_score
from quality.window import Window

BASIC_SIGNAL_TO_NOISE = 94.769  # Ro of G.107 §7.2 with its default noise and loudness ratings; Roe comes out the same
SIMULTANEOUS_IMPAIRMENT = 1.414  # Is of G.107 §7.3 with its defaults
TALKER_ECHO_LOUDNESS_DB = 65.0  # TELR, G.107 table 2: echo as a working canceller leaves it
WEIGHTED_ECHO_PATH_LOSS_DB = 110.0  # WEPL, G.107 table 2
TALKER_ECHO_TOLERANCE_DB = 14.0  # the 14 dB at which G.107 §7.4 starts to rate talker echo
DELAY_THRESHOLD_MS = 100.0  # mT, G.107 table 2: up to here delay alone does not disturb a conversation
WORST_EQUIPMENT_IMPAIRMENT = 95.0  # G.107 §7.5
MAX_BURST_RATIO = 8.0  # the end of the range that G.107 table 2 permits

# Bpl of Opus, super-wideband VBR at 40 kb/s, random loss: Alahmadi, Pocta, Melvin (ACM TOMM 17(4), 2021).
# Its slope, 95/9.79 = 9.7 points a percent, agrees with the 8 of LiveKit's score.
OPUS_LOSS_ROBUSTNESS = 9.79
RED_FACTOR = 2.0  # LiveKit's score weighs a lost packet half as much with RED
FEC_FACTOR = 1.5  # and 1.5 times less with in-band FEC

# Ie of Opus by kb/s, same paper, whose fullband scale ends at 148 where this one ends at 100. At 64 kb/s, beyond
# its table, speech is taken to be free of it.
FULLBAND_SCALE = 1.48
OPUS_IMPAIRMENT = (
    (14.0, 38.06),
    (16.0, 30.16),
    (19.0, 23.81),
    (25.0, 20.21),
    (31.0, 16.83),
    (40.0, 10.67),
    (64.0, 0.0),
)

PACKET_S = 0.020  # what WebRTC puts into an Opus packet
LOOK_AHEAD_S = 0.0065  # of the Opus encoder
NOTABLE_POINTS = 1.0  # an impairment below one point of 100 is no reason to tell
MIN_WINDOWS = 5  # fewer say nothing of how loss is spread


@dataclass(frozen=True, slots=True)
class AudioPath:
    """What speech goes through from mouth to ear.

    `one_way_delay_s` is all of it (`one_way_delay_s()` adds it up). `loss_ratio` is 0..1 of the packets, as the network
    loses them, before RED or FEC help. `burst_ratio` is 1 for losses that fall independently and the mean length of
    bursts over that of independent losses otherwise (`burst_ratio()` estimates it). `bitrate_bps` is Opus' while
    somebody speaks; None where it is not known, and then not judged.
    """

    one_way_delay_s: float = 0.0
    loss_ratio: float = 0.0
    burst_ratio: float = 1.0
    bitrate_bps: float | None = None
    red: bool = False
    fec: bool = False


@dataclass(frozen=True, slots=True)
class AudioScore:
    """The rating `r` (0..93.2), its MOS (1..4.5), the points each impairment takes, and the notable ones in words."""

    r: float
    mos: float
    delay_points: float
    codec_points: float
    loss_points: float
    reasons: tuple[str, ...] = ()


def judge(path: AudioPath) -> AudioScore:
    """Rate `path`. More delay, more loss and burstier loss never raise the rating (by over 0.06 points of R)."""
    delay_ms = max(0.0, path.one_way_delay_s) * 1000.0
    delay = delay_impairment(delay_ms)
    codec = codec_impairment(path.bitrate_bps)
    loss = loss_impairment(path, codec)
    r = max(0.0, BASIC_SIGNAL_TO_NOISE - SIMULTANEOUS_IMPAIRMENT - delay - codec - loss)
    reasons = []
    if delay >= NOTABLE_POINTS:
        reasons.append(f"{delay_ms:.0f} ms from mouth to ear: {delay:.0f} points")
    if codec >= NOTABLE_POINTS and path.bitrate_bps is not None:
        reasons.append(f"Opus at {path.bitrate_bps / 1000:.0f} kb/s: {codec:.0f} points")
    if loss >= NOTABLE_POINTS:
        bursts = f" in bursts ({path.burst_ratio:.1f} times as long as by chance)" if path.burst_ratio >= 1.5 else ""
        reasons.append(f"{path.loss_ratio:.1%} of packets lost{bursts}: {loss:.0f} points")
    return AudioScore(r, mean_opinion_score(r), delay, codec, loss, tuple(reasons))


def delay_impairment(delay_ms: float) -> float:
    """Id of G.107 §7.4: talker echo, listener echo and delay itself, for one way of `delay_ms`."""
    return _talker_echo(delay_ms) + _listener_echo(2.0 * delay_ms) + _long_delay(delay_ms)


def codec_impairment(bitrate_bps: float | None) -> float:
    """Ie of Opus at `bitrate_bps`, linear between published bitrates; 0 where that is unknown."""
    if bitrate_bps is None:
        return 0.0
    kbps = bitrate_bps / 1000.0
    if kbps <= OPUS_IMPAIRMENT[0][0]:
        return OPUS_IMPAIRMENT[0][1] / FULLBAND_SCALE
    for (low, low_points), (high, high_points) in pairwise(OPUS_IMPAIRMENT):
        if kbps <= high:
            return (low_points + (high_points - low_points) * (kbps - low) / (high - low)) / FULLBAND_SCALE
    return 0.0


def loss_impairment(path: AudioPath, codec_points: float = 0.0) -> float:
    """What packet loss adds to the codec's impairment: Ie,eff - Ie of G.107 §7.5."""
    percent = 100.0 * min(1.0, max(0.0, path.loss_ratio))
    burstiness = min(MAX_BURST_RATIO, max(1.0, path.burst_ratio))
    robustness = OPUS_LOSS_ROBUSTNESS * (RED_FACTOR if path.red else 1.0) * (FEC_FACTOR if path.fec else 1.0)
    # G.107 fits its formula to small losses; with long bursts it would pass 1 where everything is lost.
    share = min(1.0, percent / (percent / burstiness + robustness))
    return (WORST_EQUIPMENT_IMPAIRMENT - codec_points) * share


def one_way_delay_s(round_trip_times_s: Sequence[float], jitter_buffer_delay_s: float) -> float:
    """Mouth to ear: half of each leg's round trip, the jitter buffer, one packet and Opus' look-ahead.

    The legs are the sender's to the server and the server's to this end; a leg that is not known is left out by
    the caller, and then missing from the sum.
    """
    return sum(round_trip_times_s) / 2.0 + jitter_buffer_delay_s + PACKET_S + LOOK_AHEAD_S


def burst_ratio(windows: Sequence[Window]) -> float:
    """BurstR of G.107 §7.5, estimated from how unevenly losses fall on `windows` (of about one length); 1 .. 8.

    In the two-state Markov chain behind BurstR the number of losses among n packets has (1+c)/(1-c) times the
    variance of independent losses, where c is the correlation of neighbours, and BurstR is 1/(1-c): so BurstR is
    half of that dispersion plus one. 1 where there are too few windows or losses to tell.
    """
    dispersion = loss_dispersion(windows)
    return 1.0 if dispersion is None else min(MAX_BURST_RATIO, max(1.0, (dispersion + 1.0) / 2.0))


def loss_dispersion(windows: Sequence[Window]) -> float | None:
    """Variance of the losses per window over that of independent losses: about 1 for those, more in bursts.

    None where there are fewer than 5 windows with packets, nothing was lost, or everything.
    """
    counted = [window for window in windows if window.measured and window.packets_expected > 0]
    expected = sum(window.packets_expected for window in counted)
    lost = sum(min(window.packets_lost, window.packets_expected) for window in counted)
    if len(counted) < MIN_WINDOWS or not 0 < lost < expected:
        return None
    ratio = lost / expected
    squares = sum(
        (min(window.packets_lost, window.packets_expected) - ratio * window.packets_expected) ** 2
        / (window.packets_expected * ratio * (1.0 - ratio))
        for window in counted
    )
    return squares / (len(counted) - 1)


def _talker_echo(delay_ms: float) -> float:
    """Idte."""
    echo = (
        TALKER_ECHO_LOUDNESS_DB
        - 40.0 * math.log10((1.0 + delay_ms / 10.0) / (1.0 + delay_ms / 150.0))
        + 6.0 * math.exp(-0.3 * delay_ms**2)
    )
    half = (BASIC_SIGNAL_TO_NOISE - 80.0 - 2.5 * (echo - TALKER_ECHO_TOLERANCE_DB)) / 2.0
    return (half + math.sqrt(half**2 + 100.0) - 1.0) * (1.0 - math.exp(-delay_ms))


def _listener_echo(round_trip_ms: float) -> float:
    """Idle."""
    rating = 10.5 * (WEIGHTED_ECHO_PATH_LOSS_DB + 7.0) * math.pow(round_trip_ms + 1.0, -0.25)
    half = (BASIC_SIGNAL_TO_NOISE - rating) / 2.0
    return half + math.sqrt(half**2 + 169.0)


def _long_delay(delay_ms: float) -> float:
    """Idd."""
    if delay_ms <= DELAY_THRESHOLD_MS:
        return 0.0
    x = math.log2(delay_ms / DELAY_THRESHOLD_MS)
    # In doublings of the threshold; x^6 leaves a float's range only past any delay that a call has.
    return 25.0 * (math.pow(1.0 + math.pow(x, 6), 1 / 6) - 3.0 * math.pow(1.0 + math.pow(x / 3.0, 6), 1 / 6) + 2.0)
