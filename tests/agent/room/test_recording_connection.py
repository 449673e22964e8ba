"""A recording whose connection is ended for good, and tracks that the server refuses for a while, over signalling."""

from pathlib import Path

from livekit.protocol import models, rtc

from agent.room.recorder_events import RecordingChanged
from agent.room.recorder_options import RecorderOptions
from agent.room.recording import RoomRecorder
from agent.room.recording_plan import EndedReason
from agent.room.subscription import SubscribeAction, SubscriptionPolicy
from media.clock import SteadyClock
from media.record.reader import read_recording
from media.tap.tap import TapOptions
from tests.integration.publishing import eventually
from tests.media.tap.signalling_server import AUDIO, VIDEO, SignallingServer, signalling_server

EVERYTHING = SubscriptionPolicy()
NOTHING = SubscriptionPolicy(default=SubscribeAction.IGNORE)


def recorder_of(server: SignallingServer, folder: Path, told: list[object], policy: SubscriptionPolicy) -> RoomRecorder:
    options = RecorderOptions("lobby", "one", folder, 6.0, 1.0, policy, None)
    return RoomRecorder(options, TapOptions(server.url, lambda: "token"), SteadyClock(), told.append)


def permission(sid: str, *, allowed: bool) -> rtc.SignalResponse:
    update = rtc.SubscriptionPermissionUpdate(participant_sid="PA_ada", track_sid=sid, allowed=allowed)
    return rtc.SignalResponse(subscription_permission_update=update)


async def test_a_recorder_that_is_removed_from_the_room_says_that_it_records_nothing_any_more(tmp_path: Path) -> None:
    async with signalling_server() as server:
        told: list[object] = []
        recorder = recorder_of(server, tmp_path, told, EVERYTHING)
        await recorder.start()
        assert recorder.status().error_code == ""
        told.clear()
        leave = rtc.LeaveRequest(
            reason=models.DisconnectReason.PARTICIPANT_REMOVED, action=rtc.LeaveRequest.Action.DISCONNECT
        )
        await server.tell(rtc.SignalResponse(leave=leave))
        await eventually(lambda: told or None)
        (changed,) = told
        assert isinstance(changed, RecordingChanged)
        assert changed.status.error_code == "tap_error"
        assert "participant_removed" in changed.status.error
        await recorder.aclose(EndedReason.REQUESTED)
    assert read_recording(tmp_path / "one").ended_reason == "requested"


async def test_a_track_that_was_refused_is_left_out_by_rules_all_the_same(tmp_path: Path) -> None:
    async with signalling_server() as server:
        server.publish(AUDIO, models.TrackType.AUDIO)
        server.offer_after_s = 0.0
        recorder = recorder_of(server, tmp_path, [], EVERYTHING)
        await recorder.start()
        await eventually(lambda: AUDIO in recorder.tap.subscribed or None)
        await server.tell(permission(AUDIO, allowed=False))
        await eventually(lambda: AUDIO in recorder._selection._refused or None)
        assert AUDIO in recorder.tap.subscribed, "its publisher may allow it again"
        recorder.set_policy(NOTHING)
        await eventually(lambda: AUDIO not in recorder.tap.subscribed or None)
        await recorder.aclose()


async def test_a_refused_track_takes_nobodys_place_until_it_is_allowed_again(tmp_path: Path) -> None:
    one = SubscriptionPolicy(max_tracks=1)
    async with signalling_server() as server:
        server.publish(AUDIO, models.TrackType.AUDIO)
        server.publish(VIDEO, models.TrackType.VIDEO)
        server.offer_after_s = 0.0
        recorder = recorder_of(server, tmp_path, [], one)
        await recorder.start()
        (first,) = await eventually(lambda: recorder.tap.subscribed or None)
        (other,) = {AUDIO, VIDEO} - {first}
        await server.tell(permission(first, allowed=False))
        await eventually(lambda: other in recorder.tap.subscribed or None)
        await server.tell(permission(first, allowed=True))
        await eventually(lambda: len(recorder.tap.subscribed) == 1 or None)
        await recorder.aclose()
