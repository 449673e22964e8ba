"""Pictures turned as their file says they are to be shown: phones store what they film as their sensor lies."""

import math
import struct
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Turn:
    """What is done to a picture: mirrored, left for right, where it is to be, and then turned counterclockwise.

    `quarters` are 0 to 3.
    """

    quarters: int = 0
    mirrored: bool = False

    def __bool__(self) -> bool:
        return bool(self.quarters or self.mirrored)


AS_IT_LIES = Turn()


def turn_of(matrix: bytes) -> Turn:
    """The one nearest to a display matrix, as FFmpeg has them: 9 int32 of the machine, three to a row.

    The first two of the first two rows say where x and y come to lie (ISO/IEC 14496-12 §6.2.2).
    """
    a, b, _, c, d = struct.unpack_from("=5i", matrix)
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    return Turn(round(-math.atan2(b, a) / (math.pi / 2)) % 4, mirrored)


def turned(data: bytes, width: int, height: int, turn: Turn) -> bytes:
    """I420 planes of that size, both sides even, turned; the sides swap where `turn.quarters` is odd.

    Takes some 4 ms for 720p.
    """
    if not turn:
        return data
    pixels, planes, first = np.frombuffer(data, np.uint8), [], 0
    for rows, columns in ((height, width), (height // 2, width // 2), (height // 2, width // 2)):
        plane = pixels[first : first + rows * columns].reshape(rows, columns)
        planes.append(np.rot90(np.fliplr(plane) if turn.mirrored else plane, turn.quarters).tobytes())
        first += rows * columns
    return b"".join(planes)
