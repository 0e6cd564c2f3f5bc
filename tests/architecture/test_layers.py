"""Who may import whom, read off the syntax trees; functions and type-checking blocks count too."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

OURS = ("shared_schemas", "reward_client", "services", "trainer", "arr", "benchmarks", "deploy")


@dataclass(frozen=True, kw_only=True, slots=True)
class Import:
    """One imported module, as an absolute dotted name."""

    module: str
    at_import_time: bool
    """False inside a function or under `if TYPE_CHECKING:`."""
    line: int


def imports_of(source: str, *, module: str, is_package: bool) -> Iterator[Import]:
    """All imports of a module's source, relative ones made absolute; `from a import b` counts as `a` and `a.b`."""
    package = module if is_package else module.rpartition(".")[0]

    def visit(node: ast.AST, at_import_time: bool) -> Iterator[Import]:
        targets, line = [], 0
        match node:
            case ast.Import(names=names, lineno=line):
                targets = [alias.name for alias in names]
            case ast.ImportFrom(module=name, names=names, level=level, lineno=line):
                parts = package.split(".")[: len(package.split(".")) - level + 1] if level else []
                base = ".".join([*parts, *([name] if name else [])])
                targets = [base, *(f"{base}.{alias.name}" for alias in names)]
        yield from (Import(module=target, at_import_time=at_import_time, line=line) for target in targets)
        lazy = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        )
        for child in ast.iter_child_nodes(node):
            yield from visit(child, at_import_time and not lazy)

    yield from visit(ast.parse(source), True)


def is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def module_of(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def violations(
    files: tuple[Path, ...], root: Path, *, package: str, forbidden: tuple[str, ...], only_at_import_time: bool = False
) -> list[str]:
    found = []
    for path in files:
        if not is_within(module_of(path), package):
            continue
        source = (root / path).read_text()
        for item in imports_of(source, module=module_of(path), is_package=path.name == "__init__.py"):
            if only_at_import_time and not item.at_import_time:
                continue
            if any(is_within(item.module, name) for name in forbidden):
                found.append(f"{path}:{item.line} imports {item.module}")
    return found


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("reward_client", ("services", "trainer", "arr", "benchmarks", "examples")),
        ("services", ("torch", "trainer", "arr", "reward_client", "benchmarks", "examples")),
        ("services.judging", ("fastapi", "services.reward_api", "services.rubric_worker")),
        ("services.storage", ("fastapi", "starlette", "services.reward_api", "services.rubric_worker")),
        ("services.reward_api", ("services.rubric_worker", "sklearn")),
        ("services.rubric_worker", ("services.reward_api", "fastapi")),
        ("services.rubric_worker.methods.arr", ("services.rubric_worker.methods.autorubric_t2i",)),
        ("services.rubric_worker.methods.autorubric_t2i", ("services.rubric_worker.methods.arr",)),
        ("trainer", ("services", "arr", "fastapi", "benchmarks", "examples")),
        ("arr", ("benchmarks", "examples")),
        # What measures training imports the trainer; what measures the service must not.
        *(
            (f"benchmarks.{path.stem}", ("torch", "trainer"))
            for path in sorted((Path(__file__).parents[2] / "benchmarks").glob("*.py"))
            if path.stem not in {"__init__", "model_work"} and not path.stem.startswith(("training", "full_size"))
        ),
        ("trainer.config", ("torch",)),
        ("trainer.algorithms", ("diffusers", "accelerate", "peft", "httpx")),
    ],
)
def test_no_package_imports_what_its_layer_must_not(
    package: str, forbidden: tuple[str, ...], package_files: tuple[Path, ...], root: Path
) -> None:
    assert violations(package_files, root, package=package, forbidden=forbidden) == []


def test_the_client_imports_torch_only_when_it_is_asked_for_tensors(
    package_files: tuple[Path, ...], root: Path
) -> None:
    assert (
        violations(package_files, root, package="reward_client", forbidden=("torch",), only_at_import_time=True) == []
    )


def test_shared_schemas_import_the_standard_library_and_pydantic_only(
    package_files: tuple[Path, ...], root: Path
) -> None:
    allowed = sys.stdlib_module_names | {"pydantic", "shared_schemas"}
    foreign = {
        item.module
        for path in package_files
        if path.parts[0] == "shared_schemas"
        for item in imports_of((root / path).read_text(), module=module_of(path), is_package=path.stem == "__init__")
        if item.module.split(".")[0] not in allowed
    }
    assert foreign == set()


def test_only_the_pixel_judge_is_an_application_of_its_own_in_judging(
    package_files: tuple[Path, ...], root: Path
) -> None:
    elsewhere = tuple(path for path in package_files if "pixel_judge" not in path.parts)
    assert violations(elsewhere, root, package="services.judging", forbidden=("starlette",)) == []


def test_only_one_file_of_the_trainer_knows_that_there_are_several_processes(
    package_files: tuple[Path, ...], root: Path
) -> None:
    elsewhere = tuple(path for path in package_files if path != Path("trainer/distributed.py"))
    found = violations(elsewhere, root, package="trainer", forbidden=("accelerate", "torch.distributed"))
    curves = "imports accelerate.tracking"  # which shows them, on one process
    assert [violation for violation in found if curves not in violation] == []


def test_every_layer_has_files_to_check(package_files: tuple[Path, ...]) -> None:
    assert {path.parts[0] for path in package_files} == set(OURS)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import torch.nn as nn", [("torch.nn", True)]),
        ("from services import storage", [("services", True), ("services.storage", True)]),
        ("def f():\n    from torch import nn", [("torch", False), ("torch.nn", False)]),
        ("if TYPE_CHECKING:\n    import torch", [("torch", False)]),
        ("try:\n    import torch\nexcept ImportError:\n    pass", [("torch", True)]),
        ("from . import base", [("trainer.policies", True), ("trainer.policies.base", True)]),
        ("from ..config import X", [("trainer.config", True), ("trainer.config.X", True)]),
    ],
)
def test_the_scanner_sees_imports_wherever_they_hide(source: str, expected: list[tuple[str, bool]]) -> None:
    found = imports_of(source, module="trainer.policies.flux", is_package=False)
    assert [(item.module, item.at_import_time) for item in found] == expected


def test_a_forbidden_import_inside_a_function_is_reported_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "services").mkdir()
    (tmp_path / "services" / "app.py").write_text("def load():\n    import torch\n")
    found = violations((Path("services/app.py"),), tmp_path, package="services", forbidden=("torch",))
    assert found == ["services/app.py:2 imports torch"]
