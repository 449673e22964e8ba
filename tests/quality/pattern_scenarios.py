"""What can be wrong with a track: seeded traces whose truth is known by construction."""

from dataclasses import replace
from random import Random

from quality.patterns import Pattern
from quality.stats import Direction, QualityLimitationReason, TrackKind, TrackSource, VideoQuality
from tests.quality.pattern_traces import SECONDS, Build, Second, Trace, Track, Truth, calm, change, source_of

LOW, MEDIUM = VideoQuality.LOW, VideoQuality.MEDIUM
BANDWIDTH, CPU = QualityLimitationReason.BANDWIDTH, QualityLimitationReason.CPU


def weak_loss(random: Random) -> Trace:
    """Steady loss just above what counts."""
    begin, end, loss = random.randint(15, 25), random.randint(50, 60), random.uniform(0.022, 0.03)
    seconds = change(calm(random, SECONDS), begin, end, lambda s, _: replace(s, loss=loss * random.uniform(0.7, 1.3)))
    return Trace(
        "weak loss",
        tuple(Track(random).windows(seconds)),
        (Truth(Pattern.STEADY_LOSS, begin, end),),
        frozenset({Pattern.FREEZE}),
    )


def slow_jitter(random: Random) -> Trace:
    """Jitter that grows over half a minute, to 40 to 60 ms only."""
    begin, peak = random.randint(20, 25), random.uniform(0.06, 0.09)
    seconds = change(
        calm(random, SECONDS),
        begin,
        begin + 30,
        lambda s, at: replace(s, jitter_s=s.jitter_s + peak * at / 30 * random.uniform(0.8, 1.2)),
    )
    truth = Truth(Pattern.GROWING_JITTER, begin, begin + 30)
    return Trace("slow jitter", tuple(Track(random).windows(seconds)), (truth,), frozenset({Pattern.FREEZE}))


def quiet_congestion(random: Random) -> Trace:
    """A server that estimates by delay lowers the layer after two seconds of slight jitter and up to 3% of loss."""
    begin, end = random.randint(25, 35), random.randint(50, 65)
    loss, spread_s = random.uniform(0.0, 0.03), random.uniform(0.02, 0.06)
    seconds = change(calm(random, SECONDS), begin - 2, begin, lambda s, _: replace(s, loss=loss, jitter_s=spread_s))
    seconds = change(seconds, begin, end, lambda s, _: replace(s, quality=MEDIUM))
    truth = Truth(Pattern.NETWORK_LIMITED, begin, end)
    return Trace(
        "quiet congestion",
        tuple(Track(random).windows(seconds)),
        (truth,),
        frozenset({Pattern.FREEZE, Pattern.BANDWIDTH_COLLAPSE}),
    )


def two_at_once(random: Random) -> Trace:
    """Steady loss on the way, while the publisher has fewer frames and somebody asks for key frames."""
    begin, end, fps = random.randint(20, 30), random.randint(55, 65), random.uniform(8.0, 15.0)
    loss = random.uniform(0.03, 0.08)
    seconds = change(calm(random, SECONDS), begin, end, lambda s, _: replace(s, loss=loss))
    seconds = change(seconds, begin + 15, end, lambda s, _: replace(s, fps=fps))
    seconds = change(seconds, begin, end, lambda s, _: replace(s, key_frame_requests=random.choice((0, 1, 1, 2))))
    return Trace(
        "two at once",
        tuple(Track(random).windows(seconds)),
        (
            Truth(Pattern.STEADY_LOSS, begin, end),
            Truth(Pattern.KEYFRAME_STORM, begin, end),
            Truth(Pattern.PUBLISHER_LIMITED, begin + 15, end),
        ),
        frozenset({Pattern.FREEZE}),
    )


def steady_loss(random: Random) -> Trace:
    begin, end, loss = random.randint(15, 25), random.randint(50, 60), random.uniform(0.03, 0.12)
    kind = random.choice(tuple(TrackKind))
    seconds = change(calm(random, SECONDS), begin, end, lambda s, _: replace(s, loss=loss * random.uniform(0.8, 1.2)))
    return Trace(
        "steady loss",
        tuple(Track(random, kind, source_of(kind)).windows(seconds)),
        (Truth(Pattern.STEADY_LOSS, begin, end),),
        frozenset({Pattern.FREEZE}),
    )


def loss_bursts(random: Random) -> Trace:
    """A burst of 20 to 60% every 3 to 6 seconds, or the two-state chain with runs of 10 to 30 packets."""
    begin, end = random.randint(15, 25), random.randint(52, 62)
    kind = random.choice(tuple(TrackKind))
    seconds = calm(random, SECONDS)
    if random.random() < 0.5:
        loss, run = random.uniform(0.04, 0.1), random.uniform(10.0, 30.0)
        seconds = change(seconds, begin, end, lambda s, _: replace(s, loss=loss, burst=run))
    else:
        at = begin
        while at < end:
            hit = replace(seconds[at], loss=random.uniform(0.2, 0.6), burst=random.uniform(3.0, 10.0))
            seconds[at] = hit
            at += random.randint(3, 6)
    return Trace(
        "loss bursts",
        tuple(Track(random, kind, source_of(kind)).windows(seconds)),
        (Truth(Pattern.LOSS_BURSTS, begin, end),),
        frozenset({Pattern.FREEZE}),
    )


def growing_jitter(random: Random) -> Trace:
    """The spread of arrival times rises for 15 to 25 s to 70 to 150 ms, stays, and falls at once."""
    begin, rise = random.randint(20, 25), random.randint(15, 25)
    peak = random.uniform(0.07, 0.15)
    end = begin + rise
    seconds = change(
        calm(random, SECONDS),
        begin,
        end + 10,
        lambda s, at: replace(s, jitter_s=s.jitter_s + peak * min(1.0, at / rise) * random.uniform(0.9, 1.1)),
    )
    kind = random.choice(tuple(TrackKind))
    return Trace(
        "growing jitter",
        tuple(Track(random, kind, source_of(kind)).windows(seconds)),
        (Truth(Pattern.GROWING_JITTER, begin, end),),
        frozenset({Pattern.FREEZE}),
    )


def bandwidth_collapse(random: Random) -> Trace:
    """The link falls: some seconds of loss and jitter, then a lower layer until it is back."""
    begin, end = random.randint(25, 35), random.randint(55, 65)
    lower, hard = random.choice((LOW, MEDIUM)), random.randint(2, 4)
    loss = random.uniform(0.3, 0.6)

    def make(second: Second, at: int) -> Second:
        if at < hard:
            return replace(second, loss=loss, burst=4.0, jitter_s=random.uniform(0.05, 0.15))
        return replace(second, quality=lower)

    return Trace(
        "bandwidth collapse",
        tuple(Track(random).windows(change(calm(random, SECONDS), begin, end, make))),
        (Truth(Pattern.BANDWIDTH_COLLAPSE, begin, end), Truth(Pattern.NETWORK_LIMITED, begin, end)),
        frozenset({Pattern.FREEZE, Pattern.LOSS_BURSTS, Pattern.STEADY_LOSS}),
    )


def paused(random: Random) -> Trace:
    """The server withholds the track for want of bandwidth."""
    begin, end = random.randint(25, 35), random.randint(45, 60)
    seconds = change(calm(random, SECONDS), begin, end, lambda s, _: replace(s, paused=True))
    return Trace(
        "paused by the server",
        tuple(Track(random).windows(seconds)),
        (Truth(Pattern.NETWORK_LIMITED, begin, end), Truth(Pattern.BANDWIDTH_COLLAPSE, begin, end)),
    )


def oscillating_layers(random: Random) -> Trace:
    """The server goes up and down between two layers every 2 to 6 seconds."""
    begin, end = 20, random.randint(55, 65)
    lower, seconds, at, low = random.choice((LOW, MEDIUM)), calm(random, SECONDS), begin, True
    while at < end:
        until = min(end, at + random.randint(2, 6))
        if low:
            seconds = change(seconds, at, until, lambda s, _: replace(s, quality=lower))
        at, low = until, not low
    return Trace(
        "oscillating layers",
        tuple(Track(random).windows(seconds)),
        (Truth(Pattern.OSCILLATING_LAYERS, begin, end),),
        frozenset({Pattern.PUBLISHER_LIMITED}),
    )


def freeze(random: Random) -> Trace:
    """The picture stands for 1.3 to 4 s: frames arrive and are not decoded, or nothing arrives."""
    begin, whole = random.randint(20, 50), random.randint(1, 3)
    part, arrives = random.uniform(0.3, 0.9), random.random() < 0.5

    def make(second: Second, at: int) -> Second:
        stalled = ((0.0, 2.0),) if at < whole else ((0.0, part),)
        return replace(second, stalls=stalled, sent=arrives or at == whole)

    seconds = change(calm(random, SECONDS), begin, begin + whole + 1, make)
    truth = Truth(Pattern.FREEZE, begin, begin + whole + part)
    return Trace("freeze", tuple(Track(random).windows(seconds)), (truth,))


def stuck_track(random: Random) -> Trace:
    """Packets stop for 8 to 25 s; sender reports stop too, or (video) go on, or are not counted."""
    begin = random.randint(15, 30)
    end = begin + random.randint(8, 25)
    kind = random.choice(tuple(TrackKind))
    counted = random.random() < 0.7
    alive = kind is TrackKind.VIDEO and random.random() < 0.3
    during = None if not counted else int(alive)
    seconds = [replace(second, reports=1 if counted else None) for second in calm(random, SECONDS)]
    seconds = change(seconds, begin, end, lambda s, _: replace(s, sent=False, reports=during))
    return Trace(
        "stuck track",
        tuple(Track(random, kind, source_of(kind)).windows(seconds)),
        (Truth(Pattern.STUCK_TRACK, begin, end),),
        frozenset({Pattern.FREEZE}),
    )


def undecodable(random: Random) -> Trace:
    """Packets go on, and no picture comes of them."""
    begin = random.randint(15, 30)
    end = begin + random.randint(12, 25)
    seconds = change(calm(random, SECONDS), begin, end, lambda s, _: replace(s, stalls=((0.0, 2.0),)))
    return Trace(
        "undecodable",
        tuple(Track(random).windows(seconds)),
        (Truth(Pattern.STUCK_TRACK, begin, end), Truth(Pattern.FREEZE, begin, end)),
    )


def silent_track(random: Random) -> Trace:
    """Unmuted, and digital silence: with or without discontinuous transmission, or reports only."""
    begin = random.randint(15, 30)
    end = begin + random.randint(18, 40)
    way = random.choice(("dtx", "packets", "reports"))

    def make(second: Second, _: int) -> Second:
        if way == "reports":
            return replace(second, sent=False)
        return replace(second, packet_bytes=random.randint(2, 8), packets_per_s=2.5 if way == "dtx" else 50.0)

    seconds = change(calm(random, SECONDS), begin, end, make)
    return Trace(
        "silent track",
        tuple(Track(random, TrackKind.AUDIO, TrackSource.MICROPHONE).windows(seconds)),
        (Truth(Pattern.SILENT_TRACK, begin, end),),
    )


def keyframe_storm(random: Random) -> Trace:
    """One to three requests in most seconds, each answered."""
    begin, end = random.randint(15, 25), random.randint(45, 60)
    seconds = change(
        calm(random, SECONDS), begin, end, lambda s, _: replace(s, key_frame_requests=random.choice((0, 1, 1, 2, 3)))
    )
    return Trace("keyframe storm", tuple(Track(random).windows(seconds)), (Truth(Pattern.KEYFRAME_STORM, begin, end),))


def publisher_limited(random: Random) -> Trace:
    """The publisher halves its frame rate (a dark room), or stops its best layer, on a good link."""
    begin, end = random.randint(25, 35), random.randint(50, 65)
    fps, layer = random.uniform(6.0, 15.0), random.random() < 0.5
    make = (lambda s, _: replace(s, quality=MEDIUM)) if layer else (lambda s, _: replace(s, fps=fps, rate=0.6))
    return Trace(
        "publisher limited",
        tuple(Track(random).windows(change(calm(random, SECONDS), begin, end, make))),
        (Truth(Pattern.PUBLISHER_LIMITED, begin, end),),
    )


def cpu_limited(random: Random) -> Trace:
    """A decoder that does not keep up, or an encoder that says so."""
    begin, end = random.randint(20, 30), random.randint(50, 65)
    outbound = random.random() < 0.5
    share = random.uniform(0.4, 0.8)
    if outbound:
        seconds = change(calm(random, SECONDS), begin, end, lambda s, _: replace(s, limitation=CPU, fps=30 * share))
    else:
        seconds = change(calm(random, SECONDS), begin, end, lambda s, _: replace(s, decoded=share))
    direction = Direction.OUTBOUND if outbound else Direction.INBOUND
    return Trace(
        "CPU limited",
        tuple(Track(random).windows(seconds, direction)),
        (Truth(Pattern.CPU_LIMITED, begin, end),),
        frozenset({Pattern.FREEZE}),
    )


def sending_limited(random: Random) -> Trace:
    """The encoder is held down by bandwidth; sometimes its bitrate falls to a fraction."""
    begin, end = random.randint(25, 35), random.randint(50, 65)
    rate = random.uniform(0.15, 0.9)
    seconds = change(
        calm(random, SECONDS), begin, end, lambda s, _: replace(s, limitation=BANDWIDTH, rate=s.rate * rate)
    )
    return Trace(
        "sending limited",
        tuple(Track(random).windows(seconds, Direction.OUTBOUND)),
        (Truth(Pattern.NETWORK_LIMITED, begin, end),),
        frozenset({Pattern.BANDWIDTH_COLLAPSE}),
    )


def sending_loss(random: Random) -> Trace:
    """Receivers report loss of what is sent."""
    begin, end, loss = random.randint(15, 25), random.randint(50, 60), random.uniform(0.04, 0.12)
    seconds = change(calm(random, SECONDS), begin, end, lambda s, _: replace(s, remote_loss=loss))
    return Trace(
        "sending loss",
        tuple(Track(random).windows(seconds, Direction.OUTBOUND)),
        (Truth(Pattern.STEADY_LOSS, begin, end),),
    )


TROUBLED: tuple[Build, ...] = (
    steady_loss,
    loss_bursts,
    growing_jitter,
    bandwidth_collapse,
    paused,
    oscillating_layers,
    freeze,
    stuck_track,
    undecodable,
    silent_track,
    keyframe_storm,
    publisher_limited,
    cpu_limited,
    sending_limited,
    sending_loss,
    weak_loss,
    slow_jitter,
    quiet_congestion,
    two_at_once,
)
