"""The keys of a room: rings of 16, shared by all participants or of one (pure)."""

from collections.abc import Iterator

from media.e2ee.keys import KeyChain
from media.errors import InvalidEncryptionKey

RING_SIZE = 16

_NO_CHAINS: tuple[KeyChain, ...] = ()


class KeyProvider:
    """Which keys a participant's frames may be encrypted with. A participant's own keys come before shared ones."""

    def __init__(self) -> None:
        self._rings: dict[str | None, dict[int, tuple[KeyChain, ...]]] = {}

    def set_key(self, chain: KeyChain, *, identity: str | None = None, index: int = 0) -> None:
        """Use `chain` at `index` for one participant (None: for all that have no keys of their own).

        The key that was there stays known until the next one: frames under way may still need it.
        Raises InvalidEncryptionKey for an index out of the ring.
        """
        if not 0 <= index < RING_SIZE:
            raise InvalidEncryptionKey(f"key index {index} is out of the ring; give one from 0 to {RING_SIZE - 1}")
        ring = self._rings.setdefault(identity, {})
        ring[index] = (chain, *ring.get(index, _NO_CHAINS)[:1])

    def has_keys(self, identity: str) -> bool:
        """Whether there is any key for what a participant sends."""
        return identity in self._rings or None in self._rings

    def chains(self, identity: str, index: int) -> tuple[KeyChain, ...]:
        """The keys for a participant's frames of that key index, the newest first; none where there is none."""
        ring = self._rings.get(identity) or self._rings.get(None) or {}
        return ring.get(index, _NO_CHAINS)

    def due(self) -> KeyChain | None:
        """A chain that should be extended; None when all are ready."""
        return next((chain for chain in self._all() if chain.due), None)

    def _all(self) -> Iterator[KeyChain]:
        for ring in self._rings.values():
            for chains in ring.values():
                yield from chains[:1]
