"""Which long shared beginnings of requests a replica has read already, and when it pays to let one request read first.

Owns a guess at the replica's prefix cache. Refuses to be relied on: a wrong guess costs time, never an answer.
"""

from collections import OrderedDict
from enum import StrEnum

_MIN_FOLLOWERS = 3
_MIN_PREFIX_CHARS = 2_000
"""About 500 tokens of English."""


class PrefixState(StrEnum):
    """What a replica knows of a prefix."""

    COLD = "cold"
    WARMING = "warming"
    """A leader is under way with it."""
    WARM = "warm"


class Prefixes:
    """The `capacity` prefixes used last at one replica; a prefix is named by its text or any digest of it."""

    def __init__(self, *, capacity: int = 512) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {capacity}")
        self._capacity = capacity
        self._states: OrderedDict[str, PrefixState] = OrderedDict()

    def state(self, prefix: str) -> PrefixState:
        """Cold unless known otherwise; asking counts as use."""
        if prefix not in self._states:
            return PrefixState.COLD
        self._states.move_to_end(prefix)
        return self._states[prefix]

    def begin(self, prefix: str) -> None:
        """A leader sets out: cold → warming."""
        if self.state(prefix) is not PrefixState.COLD:
            return
        self._remember(prefix, PrefixState.WARMING)

    def finish(self, prefix: str, *, ok: bool) -> None:
        """A request came back: answered, the prefix is warm, whoever led; else a warming one is cold again."""
        if ok:
            self._remember(prefix, PrefixState.WARM)
        elif self.state(prefix) is PrefixState.WARMING:
            del self._states[prefix]

    def _remember(self, prefix: str, state: PrefixState) -> None:
        self._states[prefix] = state
        self._states.move_to_end(prefix)
        if len(self._states) > self._capacity:
            self._states.popitem(last=False)

    def forget(self) -> None:
        """The server seems to have restarted: everything is cold.

        A request from before that is answered nevertheless makes its prefix warm again: it was read there after all.
        """
        self._states.clear()


def worth_leading(*, prefix_chars: int, num_followers: int, has_image: bool) -> bool:
    """Whether `num_followers` requests should wait until one more has read their common prefix.

    A server can reuse only key-value blocks that are finished: requests that arrive together each read the prefix
    themselves. Waiting costs every follower one call; it saves each of them the reading of the prefix, which pays for
    several followers and a long prefix: at least 3, and 2,000 characters or an image (a 512 × 512 image is 256 tokens
    after a pass through the vision tower). The two orders of a lone pair are one leader and one follower: never.
    """
    return num_followers >= _MIN_FOLLOWERS and (has_image or prefix_chars >= _MIN_PREFIX_CHARS)
