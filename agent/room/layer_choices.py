"""What is asked of each video: what people chose and the rules allow, and the controller's choices within both."""

from collections.abc import Collection
from dataclasses import replace

from agent.errors import InvalidSettings
from agent.room.state import TrackState
from agent.room.subscription import TrackKey
from agent.room.track_settings import LayerIntent
from quality.layer_steps import sized
from quality.presets import simulcast_layers
from quality.stats import TrackKind, TrackSource, VideoQuality

MAX_DIMENSION = 16_384


class LayerChoices:
    """The intent of every video of a room; it sends nothing.

    People's choices belong to a track's publisher, kind, source and name, so they hold when it is published
    again under another SID; the controller's to that very track. Changes raise InvalidSettings for an audio track.
    """

    def __init__(self) -> None:
        self._ceilings: dict[tuple[TrackKey, str], VideoQuality] = {}
        self._intents: dict[tuple[TrackKey, str], LayerIntent] = {}
        self._wishes: dict[TrackKey, LayerIntent] = {}

    def of(self, track: TrackState) -> LayerIntent:
        """What is asked of a track now."""
        return self._intents.get(_very(track)) or self._wished(track)

    def ceiling_of(self, track: TrackState) -> VideoQuality:
        """The best layer that the rules allow for a track."""
        return self._ceilings.get(_very(track), VideoQuality.HIGH)

    def set_ceiling(self, track: TrackState, ceiling: VideoQuality) -> bool:
        """Allow a track no better layer than `ceiling`; False where that changes nothing that is asked of it."""
        if self.ceiling_of(track) == ceiling:
            return False
        self._ceilings[_very(track)] = ceiling
        intent = self._intents.get(_very(track))
        if intent is None:
            return True
        if intent.pinned:
            return False
        self._intents[_very(track)] = self._ruled(track, intent)
        return True

    def pin(self, track: TrackState, quality: VideoQuality | None) -> LayerIntent:
        """Keep the controller off a track's layer, or with None give it back to it."""
        if quality is None:
            return self._wish(track, pinned=False, dimensions=None)
        return self._wish(track, quality=quality, pinned=True, dimensions=None, withheld=False)

    def size(self, track: TrackState, width: int, height: int) -> LayerIntent:
        """Ask for the layer that suits a picture of that size (pixels), within the rules."""
        if not (0 < width <= MAX_DIMENSION and 0 < height <= MAX_DIMENSION):
            raise InvalidSettings(f"{width}x{height} is no picture size; give 1 to {MAX_DIMENSION} pixels each")
        return self._wish(track, dimensions=(width, height), pinned=False, held=False)

    def enable(self, track: TrackState, *, enabled: bool) -> LayerIntent:
        """Have a track sent, or not; also one that the controller withheld."""
        return self._wish(track, enabled=enabled, withheld=False)

    def choose(self, track: TrackState, quality: VideoQuality | None, *, held: bool) -> bool:
        """The controller's choice within the rules, None for nothing; False where somebody pinned the layer.

        `held` says whether it is below what dimensions, where somebody gave any, ask for.
        """
        if self.of(track).pinned:
            return False
        if quality is None:
            self._change(track, withheld=True)
        else:
            self._change(track, quality=quality, held=held, withheld=False)
        return True

    def forget(self, track: TrackState) -> None:
        """That very track is gone; what people chose stays for the next one that is published so."""
        self._intents.pop(_very(track), None)
        self._ceilings.pop(_very(track), None)

    def forget_who_left(self, here: Collection[str]) -> None:
        """Keep only people's choices of the tracks of those whose identity is not in `here`."""
        self._ceilings = {very: each for very, each in self._ceilings.items() if very[0].participant_identity in here}
        self._intents = {very: each for very, each in self._intents.items() if very[0].participant_identity in here}
        self._wishes = {
            key: wish
            for key, wish in self._wishes.items()
            if key.participant_identity in here or wish.pinned or wish.dimensions or not wish.enabled
        }

    def _wish(self, track: TrackState, **changes: VideoQuality | tuple[int, int] | bool | None) -> LayerIntent:
        intent = self._change(track, **changes)
        self._wishes[TrackKey.of(track)] = replace(intent, held=False, withheld=False)
        return intent

    def _change(self, track: TrackState, **changes: VideoQuality | tuple[int, int] | bool | None) -> LayerIntent:
        if track.kind != TrackKind.VIDEO:
            raise InvalidSettings(f"{track.name!r} is an audio track; only videos have layers")
        intent = replace(self.of(track), **changes)  # type: ignore[arg-type]  # names checked by replace
        self._intents[_very(track)] = intent = intent if intent.pinned else self._ruled(track, intent)
        return intent

    def _wished(self, track: TrackState) -> LayerIntent:
        """What people chose for what is published so, and the best that the rules allow."""
        wish = self._wishes.get(TrackKey.of(track), LayerIntent())
        return wish if wish.pinned else self._ruled(track, replace(wish, quality=VideoQuality.HIGH))

    def _ruled(self, track: TrackState, intent: LayerIntent) -> LayerIntent:
        """`intent`, which nobody pinned, within the rules: no size passes them."""
        ceiling, held = self.ceiling_of(track), intent.held
        if intent.dimensions is not None:
            layers = simulcast_layers(track.width, track.height, TrackSource(track.source))
            held = held or ceiling < sized(layers, intent.dimensions[1])
        return replace(intent, quality=min(intent.quality, ceiling), held=held)


def _very(track: TrackState) -> tuple[TrackKey, str]:
    """That very track: its publisher may have another one of the same source and name."""
    return TrackKey.of(track), track.sid
