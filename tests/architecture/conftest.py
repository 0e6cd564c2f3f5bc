"""The project's own files, as the style and layering tests read them."""

from fnmatch import fnmatch
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository root."""
    return Path(__file__).parents[2]


@pytest.fixture(scope="session")
def top_level_folders(root: Path) -> tuple[Path, ...]:
    """Every folder of the repository root that holds files and is not ignored by git, hidden ones left out."""
    ignored = [line.rstrip("/") for line in (root / ".gitignore").read_text().splitlines()]
    return tuple(
        path
        for path in sorted(root.iterdir())
        if not path.name.startswith(".")
        and not any(fnmatch(path.name, line) for line in ignored)
        and any(file.is_file() for file in path.rglob("*"))
    )


@pytest.fixture(scope="session")
def project_files(root: Path, top_level_folders: tuple[Path, ...]) -> tuple[Path, ...]:
    """Every file of the project, as paths relative to the root."""
    files = [path for path in root.iterdir() if path.is_file()]
    for folder in (*top_level_folders, root / ".ci"):
        files += [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return tuple(sorted(path.relative_to(root) for path in files))


@pytest.fixture(scope="session")
def python_files(project_files: tuple[Path, ...]) -> tuple[Path, ...]:
    """Every Python file of the project."""
    return tuple(path for path in project_files if path.suffix == ".py")


@pytest.fixture(scope="session")
def package_files(python_files: tuple[Path, ...]) -> tuple[Path, ...]:
    """The Python files that are installed, and the benchmarks: all but tests."""
    packages = {"shared_schemas", "reward_client", "services", "trainer", "arr", "benchmarks", "deploy"}
    return tuple(path for path in python_files if path.parts[0] in packages)
