"""Which step down helps a video that machine or way out cannot carry, and what the step back up would take. Pure."""

from statistics import fmean

from quality.publish_ladder import Limit, Move, Published, Rung, Settings, fitting_lines, rungs, smaller_lines, yields
from quality.publish_signs import Signs

LEAVES = 0.75  # of what is sent: less left over is not worth another track
DOWN_MARGIN = 1.15  # times the least for the highest layer: where it only just fits, a second step down follows


def cheaper(lower: list[Rung], lines: int, recent: tuple[Signs, ...]) -> Rung | None:
    """The first of `lower` that takes work off an encoder of `lines`; for fewer, as many as it has the time for.

    More frames a second than it manages anyway do not, nor a picture as large as libwebrtc has come to by itself.
    """
    fps, frames = fmean(signs.fps for signs in recent), fmean(signs.frames for signs in recent)
    load = fmean(signs.load for signs in recent)
    useless = {rung for rung in lower if rung.move is Move.FPS and (rung.settings.max_fps or 0.0) >= fps}
    if recent[-1].reduced:
        lines = recent[-1].lines
        useless |= {rung for rung in lower if rung.move is Move.LINES and (rung.settings.lines or 0) >= lines}
    lower = [rung for rung in lower if rung not in useless]
    if not lower or lower[0].move is not Move.LINES:
        return lower[0] if lower else None
    smaller = [rung for rung in lower if rung.move is Move.LINES]
    takes = ((rung, load * ((rung.settings.lines or 0) / lines) ** 2) for rung in smaller)
    return next((rung for rung, load in takes if load <= frames), smaller[-1])


def fitting(lower: list[Rung], published: Published, available_bps: float) -> Rung | None:
    """The first size of `lower` that the way out carries, with some room if it can be; None where none does."""
    fits = fitting_lines(published, available_bps, margin=DOWN_MARGIN) or fitting_lines(published, available_bps)
    if fits is None:
        return None
    sizes = (rung for rung in lower if rung.settings.lines is not None)
    return next((rung for rung in sizes if (rung.settings.lines or 0) <= fits), None)


def reduced_rung(published: Published, signs: Signs) -> Rung | None:
    """The rung of the size that libwebrtc has come to by itself, or of the next larger one; None where it has not."""
    if not signs.reduced:
        return None
    lines = min((each for each in smaller_lines(published) if each >= signs.lines), default=None)
    return None if lines is None else Rung(Move.LINES, Settings(lines=lines))


def yielding(published: Published, applied: tuple[Rung, ...], sent_bps: float) -> list[Rung]:
    """The rungs of `yields` below `applied` that leave a screen more of the way than it has beside `sent_bps`."""
    every = yields(published)
    lower = every[1 + max((every.index(rung) for rung in applied), default=-1) :]
    return [rung for rung in lower if (rung.settings.max_bitrate_bps or 0) <= LEAVES * sent_bps]


def higher(published: Published, limit: Limit, rung: Rung) -> Rung | None:
    """The rung of the same kind one above; None is as published."""
    ladder = yields(published) if rung.move is Move.BITRATE else rungs(published, limit)
    same = [each for each in ladder if each.move is rung.move]
    return same[same.index(rung) - 1] if rung in same and same.index(rung) > 0 else None


def layers_again(published: Published, available_bps: float, *, margin: float) -> Rung | None:
    """The size in which simulcast layers fit again, where one layer was sent; None is as published."""
    lines = fitting_lines(published, available_bps, margin=margin)
    return None if lines in {None, published.lines} else Rung(Move.LINES, Settings(lines=lines))


def cost_ratio(published: Published, rung: Rung, above: Rung | None) -> float:
    """How much more encoding takes one rung up."""
    wanted = above.settings if above else Settings()
    match rung.move:
        case Move.FPS:
            return (wanted.max_fps or published.fps) / (rung.settings.max_fps or published.fps)
        case Move.LINES:
            return ((wanted.lines or published.lines) / (rung.settings.lines or published.lines)) ** 2
        case Move.CODEC:
            return 3.0  # VP9's and AV1's time for a frame beside VP8's, as measured
        case Move.SIMULCAST:
            return 1 + 1 / 4 + 1 / 16  # with a half and a quarter of each side
        case Move.BITRATE:
            return 1.0  # no step against want of CPU
