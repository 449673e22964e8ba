"""What a subscriber asks of a video track, and the SDK requests that carry it.

The only file that speaks to the SDK's native layer itself: two of the three requests have no public
Python call, and the third one's refuses tracks that are not simulcast. Pinned by tests/integration.

LiveKit's `UpdateTrackSettings` replaces, it does not merge, so each of these requests makes the server
forget the others: the whole intent is sent each time, its deciding part last (seen on livekit 1.2.1).
"""

from dataclasses import dataclass

from livekit import rtc
from livekit.rtc._ffi_client import FfiClient
from livekit.rtc._proto import ffi_pb2 as proto_ffi

from quality.stats import VideoQuality


@dataclass(frozen=True, slots=True)
class LayerIntent:
    """What we want of one video track.

    `dimensions` (pixels), where given, win over `quality`: the server takes the smallest layer that
    reaches 0.9 times their height. Not `enabled`: subscribed, but nothing is sent. `pinned`: a person
    chose the quality, so the controller keeps off. `held`: the controller or the rules ask for `quality`, which is
    below what `dimensions` ask for. `withheld`: the controller wants nothing to be sent for now.
    """

    quality: VideoQuality = VideoQuality.HIGH
    dimensions: tuple[int, int] | None = None
    enabled: bool = True
    pinned: bool = False
    held: bool = False
    withheld: bool = False

    @property
    def sent(self) -> bool:
        """Whether anything is to be sent."""
        return self.enabled and not self.withheld


def send_intent(publication: rtc.RemoteTrackPublication, intent: LayerIntent) -> None:
    """Tell the server all of `intent`; returns at once, the picture changes within about 1 s."""
    handle = publication._ffi_handle.handle
    if intent.sent:
        _send_enabled(handle, enabled=True)
    if intent.dimensions is not None and not intent.held:
        _send_dimensions(handle, *intent.dimensions)
    else:
        _send_quality(handle, intent.quality)
    if not intent.sent:
        _send_enabled(handle, enabled=False)


def _send_quality(handle: int, quality: VideoQuality) -> None:
    request = proto_ffi.FfiRequest()
    request.set_remote_track_publication_quality.track_publication_handle = handle
    request.set_remote_track_publication_quality.quality = rtc.VideoQuality.ValueType(quality)
    FfiClient.instance.request(request)


def _send_dimensions(handle: int, width: int, height: int) -> None:
    request = proto_ffi.FfiRequest()
    request.update_remote_track_publication_dimension.track_publication_handle = handle
    request.update_remote_track_publication_dimension.width = width
    request.update_remote_track_publication_dimension.height = height
    FfiClient.instance.request(request)


def _send_enabled(handle: int, *, enabled: bool) -> None:
    request = proto_ffi.FfiRequest()
    request.enable_remote_track_publication.track_publication_handle = handle
    request.enable_remote_track_publication.enabled = enabled
    FfiClient.instance.request(request)
