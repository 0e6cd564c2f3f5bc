"""What was used lately is there, what was used long ago is not."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from services.judging.recent import Recent


@dataclass(frozen=True)
class Thing:
    num_bytes: int


def test_what_was_used_longest_ago_makes_room() -> None:
    made: list[str] = []
    recent: Recent[str, Thing] = Recent(room_bytes=10)

    def get(key: str, num_bytes: int = 4) -> None:
        recent.get(key, lambda: made.append(key) or Thing(num_bytes))  # type: ignore[func-returns-value]

    for key in ("a", "b", "a", "c", "a", "b"):
        get(key)
    assert made == ["a", "b", "c", "b"]  # "c" pushed "b" out, since "a" had been used after it
    get("larger than the room", 11)
    get("a")
    assert made[-2:] == ["larger than the room", "a"]


def test_threads_that_ask_at_once_share_one_making() -> None:
    recent: Recent[str, Thing] = Recent(room_bytes=10)
    release, num_made = threading.Event(), []

    def make() -> Thing:
        num_made.append(1)
        release.wait(10)
        return Thing(1)

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(recent.get, "a", make) for _ in range(4)]
        assert recent.get("b", lambda: Thing(2)) == Thing(2)  # another key is not held up by the one in the making
        release.set()
        found = [one.result(timeout=10) for one in asked]
    assert len(num_made) == 1
    assert all(one is found[0] for one in found)


def test_a_failure_is_not_kept() -> None:
    recent: Recent[str, Thing] = Recent(room_bytes=10)

    def fail() -> Thing:
        raise ValueError("not this time")

    for _ in range(2):
        with pytest.raises(ValueError, match="not this time"):
            recent.get("a", fail)
    assert recent.get("a", lambda: Thing(3)) == Thing(3)
