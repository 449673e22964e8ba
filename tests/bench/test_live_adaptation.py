"""What the bench of a real link takes, and what it refuses."""

import pytest

from tests.bench.live_adaptation import Phase, options


def test_phases_and_options() -> None:
    room = options(["10:15", "1.2:35:8", "10:30", "--loss", "2", "--bucket", "1600", "--no-loop"])
    assert room.phases == (Phase(10e6, 15.0, 2), Phase(1.2e6, 35.0, 8), Phase(10e6, 30.0, 2))
    assert room.bucket_bytes == 1600
    assert not room.loop


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["10"], "'10' is no phase; give Mb/s:seconds"),
        (["0:10"], "'0:10' is no phase"),
        (["10:0"], "'10:0' is no phase"),
        (["10:10:99"], "90 at most"),
        (["-1:10"], "arguments are required"),
        (["1:10", "--loss", "95"], "90 at most"),
        (["1:10", "--bucket", "1000"], "'1000': give a whole number, 1600 or more"),
        (["1:10", "--queue", "0"], "'0': give a whole number, 1 or more"),
        (["1:10", "--cameras", "two"], "'two': give a whole number, 0 or more"),
        (["1:10", "--delay", "2.5"], "'2.5': give a whole number"),
    ],
)
def test_what_is_refused_with_what_to_give(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        options(arguments)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err
