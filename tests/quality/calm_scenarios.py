"""What only looks wrong with a track: seeded traces of which nothing is to be told."""

from dataclasses import replace
from random import Random

from quality.patterns import Pattern
from quality.stats import TrackKind, TrackSource, VideoQuality
from tests.quality.pattern_traces import SECONDS, Build, Second, Trace, Track, calm, change, source_of


def calm_camera(random: Random) -> Trace:
    """Short gaps, a still scene, and key frames for people who join: nothing to tell."""
    seconds = calm(random, SECONDS, Second(fps=random.choice((25.0, 30.0))))
    still = random.randint(20, 40)
    seconds = change(
        seconds, still, still + random.randint(5, 20), lambda s, _: replace(s, rate=random.uniform(0.2, 0.4))
    )
    for at in random.sample(range(10, SECONDS), random.randint(3, 7)):
        seconds[at] = replace(seconds[at], stalls=((random.uniform(0.0, 0.4), random.uniform(0.15, 0.45)),))
    for at in random.sample(range(SECONDS), 4):
        seconds[at] = replace(seconds[at], key_frame_requests=1)
    if random.random() < 0.5:  # one accident on the link
        seconds[50] = replace(seconds[50], loss=random.uniform(0.03, 0.12), burst=random.uniform(1.0, 6.0))
    return Trace("calm camera", tuple(Track(random).windows(seconds)))


def calm_audio(random: Random) -> Trace:
    """Speech, and pauses in which discontinuous transmission sends a small packet each 400 ms."""
    seconds = calm(random, SECONDS, Second(packet_bytes=random.choice((60, 80, 120))))
    pause = random.randint(15, 40)
    end = pause + random.randint(10, 35)
    seconds = change(
        seconds, pause, end, lambda s, _: replace(s, packets_per_s=2.5, packet_bytes=random.randint(20, 45))
    )
    reports = random.choice((None, 1))
    seconds = [replace(second, reports=reports) for second in seconds]
    return Trace("calm audio", tuple(Track(random, TrackKind.AUDIO, TrackSource.MICROPHONE).windows(seconds)))


def calm_screen(random: Random) -> Trace:
    """A screen that moves, stands still for long, and moves again: with a frame now and then, or reports only."""
    seconds = calm(random, SECONDS, Second(fps=15.0))
    still = random.randint(10, 30)
    end = still + random.randint(20, 45)
    frames = random.choice((0.0, 0.5))
    seconds = change(seconds, still, end, lambda s, _: replace(s, fps=1.0, rate=0.01, sent=random.random() < frames))
    seconds[still - 1] = replace(seconds[still - 1], loss=random.uniform(0.04, 0.08))  # of what moved the most
    return Trace("calm screen", tuple(Track(random, source=TrackSource.SCREEN_SHARE).windows(seconds)))


def calm_mute(random: Random) -> Trace:
    """Muted and unmuted, twice; a full stop of packets each time."""
    kind = random.choice(tuple(TrackKind))
    seconds = calm(random, SECONDS)
    for begin in (random.randint(10, 25), random.randint(45, 55)):
        seconds = change(seconds, begin, begin + random.randint(6, 20), lambda s, _: replace(s, muted=True))
    return Trace("calm mute", tuple(Track(random, kind, source_of(kind)).windows(seconds)))


def asked_for_less(random: Random) -> Trace:
    """This end asks for a lower layer, and later for the higher one again."""
    lower = random.choice((VideoQuality.LOW, VideoQuality.MEDIUM))
    begin, end = random.randint(20, 30), random.randint(45, 60)
    fps = random.choice((15.0, 20.0, 30.0))
    seconds = calm(random, SECONDS)
    seconds = change(seconds, begin, end, lambda s, _: replace(s, requested=lower))
    # The server follows a request within about a second, either way.
    seconds = change(seconds, begin + 1, end + 1, lambda s, _: replace(s, quality=lower, fps=fps))
    return Trace("asked for less", tuple(Track(random).windows(seconds)))


def calm_wireless(random: Random) -> Trace:
    """A radio link that is good enough: short runs of loss up to 1%, jitter that wanders up to 25 ms."""
    loss, run = random.uniform(0.003, 0.01), random.uniform(1.5, 4.0)
    spread_s = random.uniform(0.005, 0.03)
    seconds = []
    for second in calm(random, SECONDS):
        spread_s = min(0.038, max(0.004, spread_s + random.gauss(0.0, 0.006)))
        seconds.append(replace(second, loss=loss, burst=run, jitter_s=spread_s))
    return Trace("calm wireless", tuple(Track(random).windows(seconds)), also=frozenset({Pattern.FREEZE}))


def calm_key_frames(random: Random) -> Trace:
    """A pre-encoded source with a key frame each second, and content whose bitrate swings by a factor of four."""
    seconds = calm(random, SECONDS, Second(key_frames=1))
    rate = 1.0
    for at, second in enumerate(seconds):
        if at % 7 == 0:
            rate = random.uniform(0.3, 1.2)
        seconds[at] = replace(second, rate=rate)
    return Trace("calm key frames", tuple(Track(random).windows(seconds)))


def calm_reconnect(random: Random) -> Trace:
    """Two reconnects: some seconds without anything, and streams that begin anew."""
    seconds = calm(random, SECONDS)
    for begin in (random.randint(15, 30), random.randint(45, 60)):
        gap = random.randint(0, 1)
        seconds = change(seconds, begin, begin + gap, lambda s, _: replace(s, sent=False))
        seconds[begin + gap] = replace(seconds[begin + gap], restarted=True)
    return Trace("calm reconnect", tuple(Track(random).windows(seconds)), also=frozenset({Pattern.FREEZE}))


CALM: tuple[Build, ...] = (
    calm_camera,
    calm_audio,
    calm_screen,
    calm_mute,
    asked_for_less,
    calm_wireless,
    calm_key_frames,
    calm_reconnect,
)
