"""Documents point at things that exist, and recipes parse."""

import re
import tomllib
from pathlib import Path

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|<img[^>]+src=\"([^\"]+)\"")
MAKE_COMMAND = re.compile(r"`make ([a-z-]+)|^\s*make ([a-z-]+)", re.MULTILINE)
DOCUMENT = re.compile(r"docs/[\w/-]+\.md")
ARR_COMMAND = re.compile(r"`arr ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?")
FENCE = re.compile(r"```.*?```", re.DOTALL)


def test_every_relative_link_points_to_a_file(project_files: tuple[Path, ...], root: Path) -> None:
    broken = []
    for path in (path for path in project_files if path.suffix == ".md"):
        for match in LINK.finditer(FENCE.sub("", (root / path).read_text())):
            target = (match[1] or match[2]).split("#")[0]
            if target and "://" not in target and not (root / path.parent / target).exists():
                broken.append(f"{path}: {target}")
    assert broken == []


def test_every_document_that_the_code_refers_to_exists(python_files: tuple[Path, ...], root: Path) -> None:
    named = {
        (str(path), match.group())
        for path in python_files
        if path.parts[0] != "tests"
        for match in DOCUMENT.finditer((root / path).read_text())
    }
    assert named
    assert {(path, document) for path, document in named if not (root / document).is_file()} == set()


def test_every_make_target_in_the_documents_exists(project_files: tuple[Path, ...], root: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.MULTILINE))
    named = {
        (str(path), match[1] or match[2])
        for path in project_files
        if path.suffix == ".md"
        for match in MAKE_COMMAND.finditer((root / path).read_text())
    }
    assert {(path, target) for path, target in named if target not in targets} == set()


def test_every_arr_command_that_a_sentence_names_exists(
    project_files: tuple[Path, ...], package_files: tuple[Path, ...], root: Path
) -> None:
    from typer.main import get_command

    from arr.main import app

    commands = vars(get_command(app))["commands"]
    known = {(name, "") for name in commands}
    known |= {(name, part) for name, command in commands.items() for part in vars(command).get("commands", ())}
    texts = [*package_files, *(path for path in project_files if path.suffix in {".md", ".j2", ".html"})]
    named = {
        (str(path), match[1], match[2] or "")
        for path in texts
        for match in ARR_COMMAND.finditer(FENCE.sub("", (root / path).read_text()))
    }
    assert named
    assert {(path, command, part) for path, command, part in named if (command, part) not in known} == set()


def test_the_readme_shows_the_two_commands_and_every_top_level_folder(
    top_level_folders: tuple[Path, ...], root: Path
) -> None:
    readme = (root / "README.md").read_text()
    assert readme.index("make demo") < readme.index("make test") < readme.index("## ", readme.index("make test"))
    assert [folder.name for folder in top_level_folders if f"{folder.name}/" not in readme] == []


def test_the_docs_index_lists_every_guide_and_decision(project_files: tuple[Path, ...], root: Path) -> None:
    index = (root / "docs" / "README.md").read_text()
    guides = [path for path in project_files if path.parts[0] == "docs" and path.suffix == ".md"]
    missing = [
        str(path) for path in guides if path.name != "README.md" and f"({path.relative_to('docs')})" not in index
    ]
    assert missing == []


def test_every_toml_parses(project_files: tuple[Path, ...], root: Path) -> None:
    files = [path for path in project_files if path.suffix == ".toml"]
    assert Path("pyproject.toml") in files
    for path in files:
        tomllib.loads((root / path).read_text())


def test_every_training_recipe_is_a_valid_configuration(project_files: tuple[Path, ...], root: Path) -> None:
    from trainer.config import load_config

    recipes = [path for path in project_files if path.parent == Path("trainer/configs") and path.suffix == ".toml"]
    assert recipes
    for path in recipes:
        load_config(root / path)


def test_every_requirement_is_pinned(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    wanted = {
        *project["dependencies"],
        *(item for extra in project["optional-dependencies"].values() for item in extra),
    }
    names = {re.split(r"[\[<>=!~; ]", item)[0].lower().replace("_", "-") for item in wanted} - {project["name"]}
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (root / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    assert names - pinned == set()
