"""What sharing out one budget takes: milliseconds of one core. `python -m tests.bench.allocation`"""

import math
import random
import time

from quality.allocation import Layer, Limits, Subscription, allocate, decode_cores
from quality.stats import VideoQuality

HEIGHTS = (1080, 720, 540, 360)
# Shares of what all highest layers take.
BUDGETS = {
    "bandwidth": [(0.2, math.inf), (0.5, math.inf), (0.8, math.inf)],
    "CPU": [(math.inf, 0.2), (math.inf, 0.5), (math.inf, 0.8)],
    "both": [(0.4, 0.27), (0.4, 0.3), (0.5, 0.36)],
}


def room(videos: int, seed: int) -> tuple[Subscription, ...]:
    """Videos of which no two have the same size, frames and bitrates; a tenth of them speak."""
    rng = random.Random(seed)
    found = []
    for at in range(videos):
        height, fps, richness = rng.choice(HEIGHTS), rng.uniform(10, 30), rng.uniform(0.5, 1.5)
        layers = tuple(
            Layer(
                quality,
                height * 16 // 9 // share,
                height // share,
                fps,
                richness * 1.7e6 * (height / 720 / share) ** 1.5,
            )
            for quality, share in ((VideoQuality.LOW, 4), (VideoQuality.MEDIUM, 2), (VideoQuality.HIGH, 1))
        )
        found.append(Subscription(f"TR_{at}", layers, active_speaker=rng.random() < 0.1))
    return tuple(found)


def alike(videos: int, seed: int) -> tuple[Subscription, ...]:
    """Cameras of one preset, whose bitrates differ by a tenth: a usual room."""
    rng = random.Random(seed)
    presets = ((VideoQuality.LOW, 180, 160e3), (VideoQuality.MEDIUM, 360, 450e3), (VideoQuality.HIGH, 720, 1.7e6))
    return tuple(
        Subscription(
            f"TR_{at}",
            tuple(
                Layer(quality, height * 16 // 9, height, 25.0, bps * rng.uniform(0.9, 1.1))
                for quality, height, bps in presets
            ),
        )
        for at in range(videos)
    )


def cost_ms(videos: tuple[Subscription, ...], bandwidth: float, cpu: float) -> float:
    highest = [video.layers[-1] for video in videos]
    limits = Limits(
        bandwidth * sum(layer.bitrate_bps for layer in highest),
        cpu * sum(decode_cores(layer, Limits()) for layer in highest),
    )
    began = time.process_time()
    allocate(videos, limits, keep_all=True)
    return (time.process_time() - began) * 1000


def main() -> None:
    for make in (room, alike):
        for videos in (10, 40, 60, 100):
            for name, shares in BUDGETS.items():
                costs = sorted(cost_ms(make(videos, seed), *share) for share in shares for seed in range(3))
                median, worst = costs[len(costs) // 2], costs[-1]
                print(f"{videos} videos, {make.__name__}, {name}: median {median:.0f} ms, worst {worst:.0f} ms")


if __name__ == "__main__":
    main()
