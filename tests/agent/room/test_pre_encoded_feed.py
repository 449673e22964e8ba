"""The shell of a video that is encoded already, where libwebrtc dropped frames, which is told up to a second later."""

import pytest

from tests.agent.room.pass_through import PassThrough, feed_into, give


@pytest.mark.parametrize("silent", [False, True], ids=["counted", "the statistics do not answer"])
async def test_after_frames_that_libwebrtc_dropped_nothing_goes_before_a_key_frame(silent: bool) -> None:
    native = PassThrough()
    feed = feed_into(native)
    native.silent = silent
    await give(feed, key=True)
    await give(feed, 10)
    native.drops = True
    await give(feed, 3)
    native.drops = False
    await feed.encoder_dropped()
    native.taken.clear()
    await give(feed, 10)
    assert native.taken == []
    await give(feed, key=True)
    await give(feed, 10)
    assert len(native.taken) == 11


async def test_what_was_dropped_before_a_key_frame_that_is_sent_already_is_mended_by_it() -> None:
    native = PassThrough()
    feed = feed_into(native)
    await give(feed, key=True)
    native.drops = True
    await give(feed, 3)
    native.drops = False
    await give(feed, key=True)
    await give(feed, 9)
    await feed.encoder_dropped()
    native.taken.clear()
    await give(feed, 230)
    assert len(native.taken) == 230
    assert feed.counted["encoder_dropped"] == 1


@pytest.mark.parametrize("key_too", [False, True])
async def test_what_was_dropped_after_a_key_frame_or_is_one_is_not_mended_by_it(key_too: bool) -> None:
    native = PassThrough()
    feed = feed_into(native)
    await give(feed, key=True)
    await give(feed, 10)
    native.drops = key_too
    await give(feed, key=True)
    native.drops = not key_too
    await give(feed, 3)
    native.drops = False
    await give(feed, 10)
    await feed.encoder_dropped()
    native.taken.clear()
    await give(feed, 10)
    assert native.taken == []


async def test_nothing_goes_to_a_room_that_is_gone_once_the_statistics_answered() -> None:
    native = PassThrough()
    feed = feed_into(native)
    native.asked = feed.stop
    await give(feed, key=True)
    assert native.taken == []
