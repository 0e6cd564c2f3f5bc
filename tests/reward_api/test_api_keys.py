import hashlib
import json
import stat
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.reward_api.api_keys import KeyFile, KeyFileError, Token
from shared_schemas.access import Scope


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys.json")


def add_many(path: Path) -> None:
    for _ in range(10):
        KeyFile(path).add("many", tenant="many", scopes=[Scope.REWARD])


def test_a_token_names_its_key_and_ends_in_256_random_bits(file: KeyFile) -> None:
    key, token = file.add("trainer", tenant="flux", scopes=[Scope.REWARD])
    prefix, key_id, secret = token.split("_", maxsplit=2)
    assert (prefix, key_id, len(secret)) == ("arr", key.id, 43)  # 43 letters of 6 bits hold 256
    assert Token.parse(token) == Token(key_id=key.id, secret_sha256=hashlib.sha256(secret.encode()).hexdigest())
    assert token != file.add("trainer", tenant="flux", scopes=[Scope.REWARD])[1]


def test_the_file_holds_the_hash_and_not_the_secret(file: KeyFile) -> None:
    key, token = file.add("trainer", tenant="flux", scopes=[Scope.REWARD, Scope.RUBRICS, Scope.REWARD])
    text = file.path.read_text()
    secret = token[-43:]
    assert secret not in text
    (entry,) = json.loads(text)["keys"]
    assert entry["sha256"] == hashlib.sha256(secret.encode()).hexdigest()
    assert (entry["name"], entry["tenant"], entry["scopes"]) == ("trainer", "flux", ["reward", "rubrics"])
    assert secret not in repr(key)
    assert entry["sha256"] not in repr(key)


def test_only_its_owner_can_read_the_file(file: KeyFile) -> None:
    file.add("a", tenant="a", scopes=[Scope.REWARD])
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    file.check_private()
    file.path.chmod(0o644)
    with pytest.raises(KeyFileError, match=r"open to everybody \(mode 0644\); run `chmod 600"):
        file.check_private()


def test_a_change_leaves_nothing_else_behind_that_could_be_read(file: KeyFile) -> None:
    file.add("a", tenant="a", scopes=[Scope.REWARD])
    for path in file.path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        assert path.name in {"keys.json", "keys.json.lock"}


def test_a_key_that_is_revoked_stays_listed_and_revoking_again_changes_nothing(file: KeyFile) -> None:
    first, second = (file.add(name, tenant="t", scopes=[Scope.REWARD])[0] for name in ("a", "b"))
    revoked = file.revoke(first.id)
    assert revoked.revoked is not None
    assert file.revoke(first.id) == revoked
    assert file.read() == (revoked, second)


def test_a_key_that_does_not_exist_cannot_be_revoked(file: KeyFile) -> None:
    file.add("a", tenant="a", scopes=[Scope.REWARD])
    with pytest.raises(KeyFileError, match="has no key 'nobody'"):
        file.revoke("nobody")


def test_processes_that_add_keys_at_once_lose_none(file: KeyFile) -> None:
    with ProcessPoolExecutor(4) as pool:
        list(pool.map(add_many, [file.path] * 4))
    assert len({key.id for key in file.read()}) == 40


def test_a_link_to_the_file_stays_a_link(file: KeyFile, tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(file.path)
    key, _ = KeyFile(link).add("a", tenant="a", scopes=[Scope.REWARD])
    assert link.is_symlink()
    assert file.read() == (key,)


def _entry(**changes: object) -> dict[str, object]:
    entry = {"id": "0" * 12, "name": "a", "tenant": "a", "scopes": ["reward"], "sha256": "0" * 64}
    return entry | {"created": "2026-01-01T00:00:00Z"} | changes


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "the file: Invalid JSON"),
        ("[]", "the file: Input should be an object"),
        (json.dumps({"keys": [_entry(scopes=["everything"])]}), "keys.0.scopes.0: Input should be 'reward'"),
        (json.dumps({"keys": [_entry(scopes=[])]}), "keys.0.scopes: Tuple should have at least 1 item"),
        (json.dumps({"keys": [_entry(secret="hunter2")]}), "keys.0.secret: Extra inputs are not permitted"),
        (json.dumps({"keys": [_entry(sha256="hunter2")]}), "keys.0.sha256: String should match"),
        (json.dumps({"keys": [_entry(), _entry()]}), "two keys have the same id"),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_line_that_does_not_repeat_it(
    file: KeyFile, content: str, complaint: str
) -> None:
    file.path.write_text(content)
    with pytest.raises(KeyFileError) as caught:
        file.read()
    assert complaint in str(caught.value)
    assert str(file.path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_adding_to_a_damaged_file_leaves_it_as_it_is(file: KeyFile) -> None:
    file.path.write_text("{")
    with pytest.raises(KeyFileError):
        file.add("a", tenant="a", scopes=[Scope.REWARD])
    assert file.path.read_text() == "{"


def test_a_name_that_fits_no_row_is_refused(file: KeyFile) -> None:
    with pytest.raises(ValueError, match=r"^name: "):
        file.add("two words", tenant="a", scopes=[Scope.REWARD])
    assert not file.path.exists()


@given(st.from_regex(r"[0-9a-f]{12}", fullmatch=True), st.from_regex(r"[A-Za-z0-9_-]{43}", fullmatch=True))
def test_a_token_is_taken_apart_as_it_was_put_together(key_id: str, secret: str) -> None:
    expected = Token(key_id=key_id, secret_sha256=hashlib.sha256(secret.encode()).hexdigest())
    assert Token.parse(f"arr_{key_id}_{secret}") == expected


@pytest.mark.parametrize("change", [lambda token: f"{token} ", lambda token: token[:-1], lambda token: token.upper()])
def test_a_token_that_is_a_little_different_is_none(file: KeyFile, change) -> None:
    _, token = file.add("a", tenant="a", scopes=[Scope.REWARD])
    assert Token.parse(change(token)) is None
