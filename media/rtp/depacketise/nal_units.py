"""NAL units as containers store them, the same for H.264 and H.265."""

from collections.abc import Iterable


def with_lengths(nals: Iterable[bytes]) -> bytes:
    """ISO/IEC 14496-15: each NAL unit after its 4-byte big-endian length."""
    parts = []
    for nal in nals:
        parts.append(len(nal).to_bytes(4, "big"))
        parts.append(nal)
    return b"".join(parts)
