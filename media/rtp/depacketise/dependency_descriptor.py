"""The dependency descriptor header extension (AOMedia, "RTP Payload Format For AV1" v1.0.0, appendix A)."""

from typing import NamedTuple, Self

_START_OF_FRAME = 0x80
_END_OF_FRAME = 0x40
_MANDATORY_BYTES = 3


class DependencyDescriptor(NamedTuple):
    """Its mandatory fields (section A.8.2), which tell where frames begin and end and in which order they were sent.

    A frame here is a layer frame. What depends on what is the server's concern, which leaves out
    whole layer frames only; so the templates are not read.
    """

    start_of_frame: bool
    end_of_frame: bool
    frame_number: int

    @classmethod
    def parse(cls, value: bytes) -> Self | None:
        """The descriptor in a header extension's value; None where it is cut short."""
        if len(value) < _MANDATORY_BYTES:
            return None
        return cls(bool(value[0] & _START_OF_FRAME), bool(value[0] & _END_OF_FRAME), value[1] << 8 | value[2])
