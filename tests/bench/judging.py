"""What judging costs: milliseconds of one core for a track and second. `python -m tests.bench.judging`"""

import time

from quality import judge
from quality.stats import TrackKind
from tests.quality.traces import received

SECONDS = 600
MIME_TYPES = {TrackKind.VIDEO: "video/vp8", TrackKind.AUDIO: "audio/red"}


def cost_ms(kind: TrackKind, loss: float) -> float:
    """Mean over ten minutes of one track."""
    snapshots = received("TR", kind, [loss] * SECONDS)
    state = judge.start(snapshots[0], judge.coding_of(MIME_TYPES[kind]))
    began = time.process_time()
    for snapshot in snapshots[1:]:
        state, _ = judge.step(state, snapshot, snapshot.timestamp)
    return (time.process_time() - began) / SECONDS * 1000


def main() -> None:
    for kind in TrackKind:
        for loss in (0.0, 0.05):
            print(f"{kind.value}, {loss:.0%} lost: {cost_ms(kind, loss):.2f} ms a second")


if __name__ == "__main__":
    main()
