"""What was used lately, kept in bounded memory.

Owns what is kept and for how long. The one rule: it changes when an answer comes, never which: what is kept is a pure
function of what it is kept by.
"""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Generic, Protocol, TypeVar


class _Sized(Protocol):
    @property
    def num_bytes(self) -> int:
        """Memory it takes."""


Key = TypeVar("Key")
Value = TypeVar("Value", bound=_Sized)


class Recent(Generic[Key, Value]):
    """The values used last, as many as `room_bytes` hold; each is made once, however many threads ask at a time."""

    def __init__(self, *, room_bytes: int) -> None:
        self._room_bytes = room_bytes
        self._num_bytes = 0
        self._kept: OrderedDict[Key, Value] = OrderedDict()
        self._making: dict[Key, Lock] = {}
        self._lock = Lock()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of `key`, made now unless it is there. What `make` raises is raised here, and nothing is kept."""
        with self._lock:
            if (found := self._find(key)) is not None:
                return found
            making = self._making.setdefault(key, Lock())
        with making:
            with self._lock:
                if (found := self._find(key)) is not None:
                    return found
            try:
                made = make()
                self._keep(key, made)
            finally:
                with self._lock:
                    self._making.pop(key, None)
        return made

    def kept(self, key: Key) -> Value | None:
        """The value of `key`, if it is there."""
        with self._lock:
            return self._find(key)

    def _find(self, key: Key) -> Value | None:
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def _keep(self, key: Key, value: Value) -> None:
        with self._lock:
            self._kept[key] = value
            self._num_bytes += value.num_bytes
            while self._num_bytes > self._room_bytes:
                _, oldest = self._kept.popitem(last=False)
                self._num_bytes -= oldest.num_bytes
