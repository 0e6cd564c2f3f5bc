"""The command's front door: help, version, and mistakes."""

from collections.abc import Callable
from importlib.metadata import version

import pytest
from typer.main import get_command
from typer.testing import Result

from arr.main import app

COMMANDS = {
    "serve",
    "worker",
    "judge",
    "judge-check",
    "size",
    "learn",
    "evaluate",
    "rubrics",
    "pairs",
    "jobs",
    "keys",
    "prepare",
    "train",
    "export",
    "demo",
    "pixel-judge",
}


def test_every_promised_command_exists() -> None:
    assert set(get_command(app).commands) == COMMANDS  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_the_help_of_every_command_shows_how_to_call_it(arr: Callable[..., Result], command: str) -> None:
    result = arr(command, "--help")
    assert result.exit_code == 0
    assert f"Usage: arr {command}" in result.output


def test_version_is_the_one_that_is_installed(arr: Callable[..., Result]) -> None:
    assert arr("--version").output.strip() == f"arr {version('rubric-reward')}"


def test_a_misspelt_command_is_a_usage_error_that_names_the_right_one(arr: Callable[..., Result]) -> None:
    result = arr("juge")
    assert result.exit_code == 2
    assert "judge" in result.stderr


def test_without_arguments_the_command_explains_itself(arr: Callable[..., Result]) -> None:
    assert "arr demo" in arr().output
