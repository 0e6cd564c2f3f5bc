"""`arr keys`, and a service that asks for what it makes."""

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from services.reward_api.app import create_app
from services.reward_api.settings import load_settings


@pytest.fixture
def keys(arr: Callable[..., Result], tmp_path: Path) -> Callable[..., Result]:
    """`keys("add", …)` on a file of the test."""
    return lambda *arguments: arr("keys", *arguments, "--file", tmp_path / "keys.json")


def test_the_key_alone_goes_to_standard_output_so_that_a_shell_can_catch_it(keys: Callable[..., Result]) -> None:
    added = keys("add", "trainer")
    assert added.exit_code == 0
    token = added.stdout.strip()
    assert (token.count("\n"), len(token)) == (0, len("arr_") + 12 + 1 + 43)
    assert "shown this once" in added.stderr
    assert "ARR_API_KEY" in added.stderr
    assert token not in added.stderr


def test_a_key_belongs_to_its_holder_and_allows_rewards_unless_said_otherwise(keys: Callable[..., Result]) -> None:
    plain = json.loads(keys("add", "trainer", "--json").stdout)
    assert (plain["tenant"], plain["scopes"]) == ("trainer", ["reward"])
    shared = json.loads(keys("add", "bot", "--scopes", "reward, rubrics", "--tenant", "images", "--json").stdout)
    assert (shared["name"], shared["tenant"], shared["scopes"]) == ("bot", "images", ["reward", "rubrics"])


def test_the_listing_shows_ids_and_no_secrets(keys: Callable[..., Result], tmp_path: Path) -> None:
    assert "arr keys add" in keys("add", "--help").output
    token = keys("add", "trainer").stdout.strip()
    listed = json.loads(keys("list", "--json").stdout)
    assert [sorted(key) for key in listed] == [["created", "id", "name", "revoked", "scopes", "tenant"]]
    assert listed[0]["id"] == token.split("_")[1]
    table = keys("list").output
    assert "trainer" in table
    assert "good" in table
    for text in (table, json.dumps(listed), (tmp_path / "keys.json").read_text()):
        assert token[-43:] not in text


def test_a_revoked_key_is_listed_as_such(keys: Callable[..., Result]) -> None:
    key_id = json.loads(keys("add", "trainer", "--json").stdout)["id"]
    assert f"{key_id} of trainer is revoked" in keys("revoke", key_id).output
    assert "revoked" in keys("list").output
    assert json.loads(keys("revoke", key_id, "--json").output)["revoked"] is not None


def test_no_keys_yet_is_said_with_the_next_step(keys: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.touch(0o600)
    path.write_text('{"keys": []}')
    assert "arr keys add" in keys("list").output


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("add", "two words"), "name: "),
        (("add", "a", "--tenant", ""), "tenant: "),
        (("add", "a", "--scopes", "everything"), "there is no scope 'everything'; choose from reward, rubrics, admin"),
        (("add", "a", "--scopes", ""), "there is no scope ''"),
        (("revoke", "000000000000"), "cannot be read"),
        (("list",), "cannot be read: No such file"),
    ],
)
def test_a_mistake_is_one_line(keys: Callable[..., Result], arguments: tuple[str, ...], complaint: str) -> None:
    result = keys(*arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_place_that_cannot_be_written_is_one_line(arr: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = arr("keys", "add", "a", "--file", tmp_path / "file" / "keys.json")
    assert result.exit_code == 2
    assert "keys.json cannot be changed: " in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_service_started_on_the_file_asks_for_the_key(
    arr: Callable[..., Result],
    keys: Callable[..., Result],
    serve: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader, admin = (keys("add", scope, "--scopes", scope).stdout.strip() for scope in ("reward", "admin"))
    settings = load_settings(data_dir=tmp_path / "data", api_keys=tmp_path / "keys.json", host="0.0.0.0")
    url = serve(create_app(settings))
    refused = arr("rubrics", "list", "--url", url)
    assert refused.exit_code == 1
    assert "401 unauthenticated" in refused.stderr
    assert "(ARR_API_KEY)" in refused.stderr
    monkeypatch.setenv("ARR_API_KEY", f"{reader}\n")
    assert arr("rubrics", "list", "--url", url).exit_code == 0
    forbidden = arr("rubrics", "alias", "a", "b", 1, "--url", url)
    assert "403 forbidden: this call needs the scope rubrics" in forbidden.stderr
    assert reader not in forbidden.output
    monkeypatch.setenv("ARR_API_KEY", admin)
    assert "404 unknown-rubric" in arr("rubrics", "alias", "a", "b", 1, "--url", url).stderr


def test_a_key_that_fits_no_header_is_one_line_that_does_not_repeat_it(
    arr: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARR_API_KEY", "hunter2 hunter2")
    result = arr("rubrics", "list", "--url", "http://127.0.0.1:9")
    assert result.exit_code == 2
    assert "API key must be one word" in result.stderr
    assert "hunter2" not in result.output


def test_the_file_is_where_the_service_keeps_everything_unless_named(
    arr: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARR_DATA_DIR", str(tmp_path / "data"))
    assert arr("keys", "add", "a").exit_code == 0
    assert stat.S_IMODE((tmp_path / "data" / "keys.json").stat().st_mode) == 0o600
    monkeypatch.setenv("ARR_API_KEYS", str(tmp_path / "elsewhere.json"))
    assert arr("keys", "add", "a").exit_code == 0
    assert (tmp_path / "elsewhere.json").exists()
