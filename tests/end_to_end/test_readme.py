"""The README's commands, exactly as written, in the order they stand there."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from arr.demo.ground_truth import ensure_ground_truth
from arr.demo.tiny_flux import build_random_tiny_flux, fingerprint
from arr.service_process import ServiceProcess, running_service

ROOT = Path(__file__).parents[2]


def _commands() -> list[str]:
    """Every command of the README's shell blocks but `make` and those that start a server, comments cut off."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if ".venv/bin/" in line and "arr serve" not in line]


@pytest.fixture(scope="module")
def after_the_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory as `make demo` leaves it, with the pre-training left out."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("arr", "examples", "trainer"):
        (folder / name).symlink_to(ROOT / name)
    build_random_tiny_flux(folder / ".arr" / "demo" / f"tiny-flux-{fingerprint()}-seed-0")
    ensure_ground_truth(folder / ".arr" / "demo")
    command = [sys.executable, "-m", "arr.main", "demo", "--smoke"]
    subprocess.run(command, check=True, capture_output=True, timeout=200, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """What `arr serve` starts, on a free port instead of 8080."""
    folder = tmp_path_factory.mktemp("service")
    with running_service(folder, log=folder / "service.log") as running:
        yield running


def test_the_readme_has_commands() -> None:
    assert len(_commands()) >= 5


def test_every_command_of_the_readme_works_as_written(after_the_demo: Path, service: ServiceProcess) -> None:
    recipe = after_the_demo / "demo_out" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("http://127.0.0.1:8080", service.url))
    for command in _commands():
        ours = command.replace(".venv/bin/arr", ".venv/bin/python -m arr.main").replace(
            ".venv/bin/python", sys.executable
        )
        finished = subprocess.run(
            shlex.split(ours),
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
            cwd=after_the_demo,
            env=os.environ | {"ARR_URL": service.url},
        )
        assert finished.returncode == 0, f"{command}\n{finished.stderr}"
    assert (after_the_demo / "runs" / "mine" / "adapter" / "adapter_config.json").exists()
