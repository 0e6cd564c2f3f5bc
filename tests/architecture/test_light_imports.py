"""What importing a module really loads, seen in a fresh interpreter."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SERVERS = ("fastapi", "starlette", "uvicorn")
MODELS = ("torch", "diffusers", "transformers", "peft", "accelerate", "sklearn")
STORES = ("sqlalchemy", "alembic", "openai")


def loaded_by(statement: str, *, root: Path) -> set[str]:
    """Top-level names in `sys.modules` after `statement`."""
    report = "import json, sys; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{statement}\n{report}"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return set(json.loads(result.stdout.splitlines()[-1]))


def import_all(package: str) -> str:
    """A statement that imports a package with everything in it, migrations apart (only Alembic can run those)."""
    return (
        f"import importlib, pkgutil, {package} as package\n"
        f"for module in pkgutil.walk_packages(package.__path__, '{package}.'):\n"
        "    if 'migrations' not in module.name:\n"
        "        importlib.import_module(module.name)"
    )


@pytest.mark.parametrize(
    ("package", "must_not_load"),
    [
        ("shared_schemas", (*SERVERS, *MODELS, *STORES, "numpy", "httpx", "PIL", "typer")),
        ("reward_client", (*SERVERS, *MODELS, *STORES, "services", "trainer")),
        ("services.judging", (*MODELS, "fastapi", "trainer", "sqlalchemy")),
        ("services.storage", (*SERVERS, *MODELS, "trainer", "openai")),
        ("services.reward_api", (*MODELS, "trainer", "reward_client")),
        ("services.rubric_worker", (*SERVERS, "torch", "diffusers", "transformers", "trainer", "reward_client")),
        ("trainer.algorithms", ("diffusers", "accelerate", "peft", "httpx", "services")),
    ],
)
def test_importing_a_whole_package_loads_nothing_heavier_than_its_layer(
    package: str, must_not_load: tuple[str, ...], root: Path
) -> None:
    assert loaded_by(import_all(package), root=root) & set(must_not_load) == set()


@pytest.mark.parametrize(
    ("module", "must_not_load"),
    [
        ("trainer.config", (*SERVERS, *MODELS, *STORES, "services", "httpx")),
        ("arr.main", (*SERVERS, *MODELS, *STORES, "services", "trainer", "numpy")),
    ],
)
def test_importing_a_module_loads_nothing_heavier_than_its_layer(
    module: str, must_not_load: tuple[str, ...], root: Path
) -> None:
    assert loaded_by(f"import {module}", root=root) & set(must_not_load) == set()


def test_help_of_every_command_is_shown_without_loading_what_the_command_needs(root: Path) -> None:
    script = (
        "from typer.testing import CliRunner; from typer.main import get_command; from arr.main import app\n"
        "for name in ['', *get_command(app).commands]:\n"
        "    result = CliRunner().invoke(app, [*filter(None, [name]), '--help'])\n"
        "    assert result.exit_code == 0, (name, result.output)"
    )
    assert loaded_by(script, root=root) & {*SERVERS, *MODELS, *STORES, "services", "trainer"} == set()


def test_the_check_sees_a_heavy_import(root: Path) -> None:
    assert "sqlalchemy" in loaded_by("import sqlalchemy", root=root)
