"""The parts of the style sheet that a program can check."""

import ast
import re
from pathlib import Path

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 100
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}
# Folders that exist on somebody's machine and mean nothing on another.
MACHINE_PATH = re.compile(r"(?<![\w.~])/(?:home|root|Users|work|mnt)/\w")


def functions_of(source: str) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_every_file_is_short_enough_to_read_in_one_go(python_files: tuple[Path, ...], root: Path) -> None:
    lengths = {str(path): len((root / path).read_text().splitlines()) for path in python_files}
    assert {path: length for path, length in lengths.items() if length > MAX_FILE_LINES} == {}


def test_every_function_fits_on_a_screen_or_two(python_files: tuple[Path, ...], root: Path) -> None:
    too_long = [
        f"{path}:{node.lineno} {node.name}"
        for path in python_files
        for node in functions_of((root / path).read_text())
        if (node.end_lineno or node.lineno) - node.lineno >= MAX_FUNCTION_LINES
    ]
    assert too_long == []


def test_no_module_is_named_after_nothing(project_files: tuple[Path, ...]) -> None:
    assert [str(path) for path in project_files if VAGUE_NAMES & {path.stem, *path.parts[:-1]}] == []


def test_every_installed_module_says_what_it_owns(package_files: tuple[Path, ...], root: Path) -> None:
    assert [str(path) for path in package_files if not ast.get_docstring(ast.parse((root / path).read_text()))] == []


def test_every_file_is_python_3_11_without_future_imports(python_files: tuple[Path, ...], root: Path) -> None:
    for path in python_files:
        tree = ast.parse((root / path).read_text(), filename=str(path), feature_version=(3, 11))
        future = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
        assert not future, f"{path} imports from __future__"


def test_no_file_names_a_path_of_one_machine(project_files: tuple[Path, ...], root: Path) -> None:
    found = []
    for path in project_files:
        text = (root / path).read_bytes().decode("utf-8", errors="ignore")
        found += [f"{path}: {match.group()}" for match in MACHINE_PATH.finditer(text)]
    assert found == []


def test_tests_have_no_init_files(project_files: tuple[Path, ...]) -> None:
    assert [str(path) for path in project_files if path.parts[0] == "tests" and path.name == "__init__.py"] == []
