"""The file of the rooms that shall run: what cannot be read is kept aside, whatever is in it."""

from pathlib import Path

import pytest

from agent.service.desired_rooms import FILE_NAME, DesiredRooms


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(range(256)),
        b"[" * 100_000,
        b'{"version":1,"rooms":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"version":1,"rooms":[{"room":"\\ud800"}]}',
    ],
    ids=["empty", "binary", "brackets", "closed brackets", "half a character"],
)
def test_what_cannot_be_read_is_kept_aside(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    assert DesiredRooms(tmp_path).load() == ()
    (aside,) = tmp_path.iterdir()
    assert (aside.name, aside.read_bytes()) == ("rooms.damaged", content)
