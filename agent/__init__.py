"""The participant and the service around it. Everything a program needs is here; the rest is internal."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.bot import RoomAgent
    from agent.config import Settings, load_settings
    from agent.credentials import Credentials
    from agent.errors import RoomhandError, RpcError
    from agent.logs import configure_logs
    from agent.request import EVERYTHING, NOTHING, RoomRequest
    from agent.room.frames import AudioFrame, VideoFrame
    from agent.room.live_source import LiveSource
    from agent.room.publish_options import PublishOptions, VideoCodec
    from agent.room.recording_plan import LayerPolicy, RecordingPlan, RecordWhen, StopConditions
    from agent.room.rpc import RpcInvocation
    from agent.room.state import (
        ConnectionState,
        ParticipantState,
        PublicationState,
        ReceiveState,
        RecordingStatus,
        RoomState,
        TrackState,
    )
    from agent.room.subscription import SubscribeAction, SubscriptionPolicy, SubscriptionRule
    from media.sources.source import AudioFormat, VideoFormat
    from quality.stats import TrackSource

__all__ = [
    "EVERYTHING",
    "NOTHING",
    "AudioFormat",
    "AudioFrame",
    "ConnectionState",
    "Credentials",
    "LayerPolicy",
    "LiveSource",
    "ParticipantState",
    "PublicationState",
    "PublishOptions",
    "ReceiveState",
    "RecordWhen",
    "RecordingPlan",
    "RecordingStatus",
    "RoomAgent",
    "RoomRequest",
    "RoomState",
    "RoomhandError",
    "RpcError",
    "RpcInvocation",
    "Settings",
    "StopConditions",
    "SubscribeAction",
    "SubscriptionPolicy",
    "SubscriptionRule",
    "TrackSource",
    "TrackState",
    "VideoCodec",
    "VideoFormat",
    "VideoFrame",
    "configure_logs",
    "load_settings",
]

_MODULES = {
    "agent.bot": ("RoomAgent",),
    "agent.config": ("Settings", "load_settings"),
    "agent.errors": ("RoomhandError", "RpcError"),
    "agent.logs": ("configure_logs",),
    "agent.request": ("EVERYTHING", "NOTHING", "RoomRequest"),
    "agent.room.frames": ("AudioFrame", "VideoFrame"),
    "agent.room.live_source": ("LiveSource",),
    "agent.room.publish_options": ("PublishOptions", "VideoCodec"),
    "agent.room.recording_plan": ("LayerPolicy", "RecordWhen", "RecordingPlan", "StopConditions"),
    "agent.room.rpc": ("RpcInvocation",),
    "agent.room.state": (
        "ConnectionState",
        "ParticipantState",
        "PublicationState",
        "ReceiveState",
        "RecordingStatus",
        "RoomState",
        "TrackState",
    ),
    "agent.room.subscription": ("SubscribeAction", "SubscriptionPolicy", "SubscriptionRule"),
    "agent.credentials": ("Credentials",),
    "media.sources.source": ("AudioFormat", "VideoFormat"),
    "quality.stats": ("TrackSource",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: `roomhand token` shall not load a media stack."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
