import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.reward_api.api_keys import KeyFile, KeyFileError
from services.reward_api.key_ring import KeyRing
from shared_schemas.access import Scope


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys.json")


@pytest.fixture
def add(file: KeyFile) -> Callable[[], tuple[str, str]]:
    """Make a key; returns its id and token."""

    def make() -> tuple[str, str]:
        key, token = file.add("trainer", tenant="flux", scopes=[Scope.REWARD])
        return key.id, token

    return make


def test_only_the_whole_token_opens(file: KeyFile, add: Callable[[], tuple[str, str]], clock: Clock) -> None:
    (mine, token), (other, other_token) = add(), add()
    ring = KeyRing(file.path, clock=clock)
    found = ring.verify(token)
    assert found is not None
    assert (found.id, found.tenant) == (mine, "flux")
    mixed = f"arr_{mine}_{other_token[-43:]}"
    for wrong in (mixed, f"arr_{'0' * 12}_{token[-43:]}", token[:-1], mine, token[-43:], "", "arr__"):
        assert ring.verify(wrong) is None, wrong
    assert mine != other


def test_a_revoked_key_is_refused_once_the_file_is_looked_at_again(
    file: KeyFile, add: Callable[[], tuple[str, str]], clock: Clock
) -> None:
    key_id, token = add()
    ring = KeyRing(file.path, clock=clock)
    clock.now += 1
    ring.verify(token)
    file.revoke(key_id)
    clock.now += 0.99
    assert ring.verify(token) is not None
    clock.now += 0.01
    assert ring.verify(token) is None


def test_a_new_key_opens_without_a_restart(file: KeyFile, add: Callable[[], tuple[str, str]], clock: Clock) -> None:
    add()
    ring = KeyRing(file.path, clock=clock)
    _, token = add()
    clock.now += 1
    assert ring.verify(token) is not None


def test_an_edit_in_place_of_the_same_length_is_noticed(
    file: KeyFile, add: Callable[[], tuple[str, str]], clock: Clock
) -> None:
    _, token = add()
    ring = KeyRing(file.path, clock=clock)
    before = file.path.stat()
    text = file.path.read_text()
    file.path.write_text(text.replace('"reward"', '"admin" '))
    os.utime(file.path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert (file.path.stat().st_size, file.path.stat().st_ino) == (before.st_size, before.st_ino)
    clock.now += 1
    found = ring.verify(token)
    assert found is not None
    assert found.scopes == (Scope.ADMIN,)


@pytest.mark.parametrize("harm", ["missing", "malformed"])
def test_the_last_good_keys_stay_while_the_file_is_damaged_which_is_logged_once(
    file: KeyFile, add: Callable[[], tuple[str, str]], clock: Clock, caplog: pytest.LogCaptureFixture, harm: str
) -> None:
    key_id, token = add()
    good = file.path.read_bytes()
    ring = KeyRing(file.path, clock=clock)
    file.path.unlink()
    if harm == "malformed":
        file.path.write_text("{")
    for _ in range(3):
        clock.now += 1
        assert ring.verify(token) is not None
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert str(file.path) in vars(record)["detail"]
    file.path.write_bytes(good)
    clock.now += 1
    ring.verify(token)
    file.path.write_text("{")
    clock.now += 1
    ring.verify(token)
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 2
    file.path.write_bytes(good)
    file.revoke(key_id)
    clock.now += 1
    assert ring.verify(token) is None


def test_a_file_that_comes_back_unchanged_is_read_again(
    file: KeyFile, add: Callable[[], tuple[str, str]], clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    _, token = add()
    ring = KeyRing(file.path, clock=clock)
    away = file.path.rename(file.path.with_suffix(".away"))
    clock.now += 1
    ring.verify(token)
    away.rename(file.path)
    clock.now += 1
    with caplog.at_level(logging.INFO):
        assert ring.verify(token) is not None
    assert "API keys read again" in caplog.messages


def test_there_is_no_ring_without_a_good_file(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="cannot be read: No such file"):
        KeyRing(tmp_path / "missing.json")
