"""What the server lets us do, asked before we try: it ignores what it does not allow, without a word.

Seen on livekit-server 1.13: publishing a track without permission times out after 10 s; data packets,
text and attributes are dropped silently.
"""

from dataclasses import dataclass

from agent.errors import PermissionDenied
from quality.stats import TrackSource


@dataclass(frozen=True, slots=True)
class Permissions:
    """LiveKit's `ParticipantPermission`. Empty `can_publish_sources` means any source."""

    can_subscribe: bool = True
    can_publish: bool = True
    can_publish_data: bool = True
    can_update_metadata: bool = False
    hidden: bool = False
    can_publish_sources: tuple[TrackSource, ...] = ()

    def may_publish(self, source: str) -> bool:
        """Whether a track of `source` may be published."""
        return self.can_publish and (not self.can_publish_sources or source in self.can_publish_sources)

    def require_publish(self, source: TrackSource) -> None:
        """PermissionDenied unless a track of `source` may be published, and would be seen."""
        if not self.can_publish:
            raise PermissionDenied("the access token does not allow publishing; mint one with canPublish")
        if not self.may_publish(source):
            allowed = ", ".join(self.can_publish_sources)
            raise PermissionDenied(
                f"the access token allows publishing only {allowed}, not {source}; "
                "add it to canPublishSources, or publish with another source"
            )
        self._require_visible()

    def require_publish_data_track(self) -> None:
        """PermissionDenied unless data tracks may be published, and would be seen."""
        self.require_publish_data()
        self._require_visible()

    def _require_visible(self) -> None:
        if self.hidden:
            raise PermissionDenied(
                "the agent is hidden, and nobody is told of tracks of a hidden participant; join without hidden to "
                "publish (data packets and texts arrive, without a name)"
            )

    def require_publish_data(self) -> None:
        """PermissionDenied unless data packets, text streams and data tracks may be sent."""
        if not self.can_publish_data:
            raise PermissionDenied("the access token does not allow sending data; mint one with canPublishData")

    def require_rpc(self) -> None:
        """PermissionDenied unless methods of others may be called, and the answers would reach us."""
        self.require_publish_data()
        if self.hidden:
            raise PermissionDenied(
                "the agent is hidden, and nobody can answer a hidden participant; join without hidden to call methods"
            )

    def require_subscribe(self) -> None:
        """PermissionDenied unless tracks may be received."""
        if not self.can_subscribe:
            raise PermissionDenied("the access token does not allow subscribing; mint one with canSubscribe")

    def require_update_metadata(self) -> None:
        """PermissionDenied unless our own name, metadata and attributes may be changed."""
        if not self.can_update_metadata:
            raise PermissionDenied(
                "the access token does not allow changing our own metadata; mint one with canUpdateOwnMetadata"
            )
