"""What a room process needs of the agent that it runs; `agent.bot.RoomAgent` has it, and so has the tests' fake."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from agent.room.counters import RoomCounters
from agent.room.publish_options import PublishOptions
from agent.room.recording_plan import RecordingPlan
from agent.room.state import PublicationState, RecordingStatus, RoomState
from agent.room.subscription import SubscriptionPolicy
from agent.service.protocol import RoomOptions


class RoomAgentPort(Protocol):
    """One room, joined by `start` and left by `aclose`, which closes its recording and is idempotent."""

    async def start(self) -> None:
        """Join, publish and record what the request says."""

    async def aclose(self) -> None:
        """End sources, publications, recording and tap, then leave."""

    async def wait_closed(self) -> str:
        """Until the room is over; LiveKit's DisconnectReason in lower case."""

    async def publish(self, spec: str, options: PublishOptions) -> tuple[PublicationState, ...]:
        """Publish "pattern" or the file at a path."""

    async def unpublish(self, sid: str) -> None:
        """End a publication."""

    async def set_muted(self, sid: str, muted: bool) -> None:
        """Mute or unmute a publication."""

    async def set_policy(self, policy: SubscriptionPolicy) -> None:
        """Subscribe by this policy."""

    async def set_subscribed(self, track_sid: str, subscribed: bool | None) -> None:
        """Subscribe to a track or not; None leaves it to the policy."""

    async def set_layer(self, track_sid: str, quality: str | None, target: str) -> None:
        """Ask for a layer; None leaves it to the controller."""

    async def send_data(
        self, payload: bytes, topic: str, reliable: bool, destination_identities: Sequence[str]
    ) -> None:
        """Send a data packet."""

    async def send_text(self, text: str, topic: str, destination_identities: Sequence[str]) -> object:
        """Send a text stream."""

    async def set_e2ee_key(self, key: str, *, participant_identity: str | None, key_index: int) -> None:
        """Use another key for end-to-end encryption."""

    async def start_recording(
        self,
        recording_id: str,
        *,
        policy: SubscriptionPolicy | None = None,
        plan: RecordingPlan | None = None,
        paused: bool = False,
    ) -> RecordingStatus:
        """Record, or go on with the recording of that id."""

    async def pause_recording(self) -> RecordingStatus:
        """Record nothing for a while."""

    async def resume_recording(self) -> RecordingStatus:
        """Record again."""

    async def change_recording(
        self, *, policy: SubscriptionPolicy | None = None, plan: RecordingPlan | None = None
    ) -> None:
        """Change what is recorded and how."""

    async def stop_recording(self) -> RecordingStatus:
        """Close the recording."""

    def state(self) -> RoomState:
        """Everything at once."""

    def counters(self) -> RoomCounters:
        """Totals for metrics."""

    def add_listener(self, listener: Callable[[object], None]) -> object:
        """Tell `listener` each RoomEvent from now on."""


AgentFactory = Callable[[RoomOptions], Awaitable[RoomAgentPort]]
