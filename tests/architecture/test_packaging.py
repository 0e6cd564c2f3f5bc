"""What is in the checkout is also in the wheel: an installed `arr demo` finds its template, recipe and rubric."""

import subprocess
import tomllib
from pathlib import Path, PurePosixPath

PACKAGES = ("arr", "reward_client", "services", "shared_schemas", "trainer")


def _tracked(root: Path) -> list[PurePosixPath]:
    listed = subprocess.run(["git", "ls-files", *PACKAGES], cwd=root, capture_output=True, text=True, check=True)
    return [PurePosixPath(line) for line in listed.stdout.splitlines()]


def test_every_data_file_of_a_package_is_declared(root: Path) -> None:
    declared = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    for path in _tracked(root):
        if path.suffix == ".py":
            continue
        of_its_package = [f"{path.parts[0]}/{pattern}" for pattern in declared.get(path.parts[0], ())]
        patterns = [*declared["*"], *of_its_package]
        assert any(path.match(pattern) for pattern in patterns), f"{path} would be missing from the wheel"
