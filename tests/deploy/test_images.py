"""The Dockerfiles: what they copy exists, what they install is their process's own, what they run is a command."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.commands import read_command
from tests.deploy.extras import distributions_of
from tests.deploy.test_extras import MODELS

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "deploy").glob("*.Dockerfile"))


@dataclass(frozen=True, slots=True)
class Instruction:
    """One line of a Dockerfile, continuation lines joined."""

    name: str
    words: str


def instructions(file: Path) -> list[Instruction]:
    """A Dockerfile, line by line, without comments."""
    lines = "\n".join(line for line in file.read_text().splitlines() if not line.startswith("#"))
    parts = [line.split(maxsplit=1) for line in lines.replace("\\\n", " ").splitlines() if line]
    return [Instruction(name, words.strip()) for name, words in parts]


def last(file: Path, name: str) -> str:
    """What holds in the finished image."""
    return [line.words for line in instructions(file) if line.name == name][-1]


def copied(file: Path) -> list[str]:
    """Paths of the checkout that a Dockerfile copies."""
    found = [line.words.split() for line in instructions(file) if line.name == "COPY"]
    return [path for words in found if not words[0].startswith("--") for path in words[:-1]]


def installed_extra(file: Path) -> str:
    """The extra that is installed unless a build argument says another."""
    (extra,) = re.findall(r"\[(\S+?)\]\"", file.read_text())
    if extra == "${EXTRA}":
        (extra,) = re.findall(r"^ARG EXTRA=(\w+)$", file.read_text(), flags=re.MULTILINE)
    return str(extra)


def test_there_is_one_file_for_each_process() -> None:
    extras = {file.stem: installed_extra(file) for file in FILES}
    assert extras == {"reward_api": "api", "rubric_worker": "worker", "trainer": "trainer"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_hadolint_has_nothing_to_say(file: Path) -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert hadolint is not None, "the extra `deploy` brings it"
    result = subprocess.run(
        [hadolint, "--failure-threshold", "style", file], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_is_copied_exists_and_is_sent_to_the_builder(file: Path) -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    sent = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert copied(file)
    for path in copied(file):
        assert (ROOT / path).exists(), path
        assert path in sent, f"{path} is ignored"
    assert not any(fnmatch("arr/main.py", line) for line in ignored if line != "*")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_package_is_in_the_wheel_that_is_built(file: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    needed = packages | {"pyproject.toml", "constraints.txt", project["project"]["readme"], "LICENSE"}
    assert set(copied(file)) == needed


@pytest.mark.parametrize("file", [file for file in FILES if file.stem != "trainer"], ids=lambda file: file.stem)
def test_no_service_image_installs_a_model_library(file: Path) -> None:
    assert distributions_of(installed_extra(file)) & MODELS == set()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_versions_are_pinned(file: Path) -> None:
    (base,) = re.findall(r"^ARG PYTHON=(.+)$", file.read_text(), flags=re.MULTILINE)
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", base)
    assert {line.words.split()[0] for line in instructions(file) if line.name == "FROM"} == {"${PYTHON}"}
    assert "--constraint /constraints.txt" in file.read_text()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_process_is_not_root_and_may_write_where_volumes_are_mounted(file: Path, compose: dict[str, Any]) -> None:
    assert last(file, "USER") == "10001:10001"
    assert "useradd --uid 10001" in file.read_text()
    (folders,) = re.findall(
        r"install --directory --owner=arr --group=arr --mode=0750 (.+)$", file.read_text(), re.MULTILINE
    )
    for service in compose["services"].values():
        if service.get("build", {}).get("dockerfile") == f"deploy/{file.name}":
            volumes = [volume.split(":") for volume in service.get("volumes", []) if isinstance(volume, str)]
            written = {words[1] for words in volumes if words[-1] != "ro"}
            assert written <= set(folders.split())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_command_is_one_of_ours(file: Path) -> None:
    entry = [json.loads(line.words) for line in instructions(file) if line.name == "ENTRYPOINT"]
    words = [*(entry[0] if entry else []), *json.loads(last(file, "CMD"))]
    if words[-1] == "--help":  # people write the rest
        words[-1] = "recipe.toml"
    assert read_command(words)


@pytest.mark.parametrize(("name", "service"), [("reward_api", "reward-api"), ("rubric_worker", "rubric-worker")])
def test_an_image_runs_and_is_checked_like_its_service(name: str, service: str, compose: dict[str, Any]) -> None:
    file = ROOT / f"deploy/{name}.Dockerfile"
    assert json.loads(last(file, "CMD")) == compose["services"][service]["command"]
    check = json.loads(last(file, "HEALTHCHECK").split("CMD", 1)[1])
    kind, *words = compose["services"][service]["healthcheck"]["test"]
    assert check == (["/bin/sh", "-c", *words] if kind == "CMD-SHELL" else words)
