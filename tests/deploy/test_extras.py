"""Each image installs the extra of its process: enough to import all that it runs, and without a model library."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.extras import distributions_of, modules_outside

MODELS = {"torch", "torchvision", "diffusers", "transformers", "accelerate", "peft", "triton", "sentencepiece"}

WITHOUT = """
import sys
from importlib.machinery import PathFinder
class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in hidden else PathFinder.find_spec(name, path, target)
hidden = set(sys.argv[1].split(","))
sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
"""

IMPORT_ALL = """
import importlib, pkgutil
for name in sys.argv[2].split(","):
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(getattr(package, "__path__", ()), name + "."):
        if "migrations" not in module.name:
            importlib.import_module(module.name)
"""

SERVICE = ("services.judging", "services.storage", "services.reward_api", "shared_schemas")


def run_with_only(extra: str, script: str, argument: str, *, root: Path) -> "subprocess.CompletedProcess[str]":
    """Run a script in an interpreter that finds no module of a distribution that the extra does not bring."""
    hidden = ",".join(modules_outside(distributions_of(extra)))
    command = [sys.executable, "-c", WITHOUT + script, hidden, argument]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("extra", ["client", "api", "worker", "service"])
def test_no_service_installs_a_model_library(extra: str) -> None:
    assert distributions_of(extra) & MODELS == set()


def test_the_api_does_without_what_learning_needs() -> None:
    assert distributions_of("api").isdisjoint({"scikit-learn", "scipy"})


def test_the_base_install_is_the_client_extra_and_brings_no_server() -> None:
    servers = {"fastapi", "starlette", "uvicorn", "sqlalchemy", "openai", "typer", "redis"}
    assert distributions_of("client").isdisjoint(servers)


def test_the_walk_sees_what_an_extra_of_an_extra_brings() -> None:
    assert {"torch", "fastapi", "scipy", "psycopg-binary"} <= distributions_of("demo")


@pytest.mark.parametrize(
    ("extra", "modules"),
    [
        ("client", ("reward_client", "shared_schemas")),
        ("api", (*SERVICE, "arr.main", "arr.serve", "arr.keys", "arr.pixel_judge", "arr.listening")),
        ("worker", (*SERVICE, "services.rubric_worker", "arr.main", "arr.worker", "arr.job_kinds")),
        ("trainer", ("trainer", "reward_client", "arr.main", "arr.train", "arr.export")),
    ],
)
def test_an_extra_is_all_that_its_process_imports(extra: str, modules: tuple[str, ...], root: Path) -> None:
    result = run_with_only(extra, IMPORT_ALL, ",".join(modules), root=root)
    assert result.returncode == 0, result.stderr


def test_the_check_sees_a_module_that_the_extra_does_not_bring(root: Path) -> None:
    result = run_with_only("api", IMPORT_ALL, "services.rubric_worker", root=root)
    assert "No module named 'sklearn'" in result.stderr.splitlines()[-1]


def test_a_service_told_to_do_jobs_without_what_they_need_says_so_in_one_line(root: Path, tmp_path: Path) -> None:
    script = "from arr.main import app; app(['serve', '--port', '0', '--data-dir', sys.argv[2]])"
    result = run_with_only("api", script, str(tmp_path), root=root)
    assert result.returncode == 2
    assert result.stderr == (
        "error: jobs need `pip install 'rubric-reward[worker]'` (No module named 'sklearn'); ARR_WORKER=none leaves "
        "them to other processes\n"
    )
