"""`arr rubrics` against a running service."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result


@pytest.fixture
def rubrics(arr: Callable[..., Result], service_url: str) -> Callable[..., Result]:
    return lambda *arguments: arr("rubrics", *arguments, "--url", service_url)


def test_a_published_file_is_version_1_and_can_be_shown(rubrics: Callable[..., Result], rubric_file: Path) -> None:
    published = rubrics("publish", "cli-publish", rubric_file)
    assert published.exit_code == 0, published.output
    assert published.output.startswith("cli-publish@1  sha256:")
    shown = rubrics("show", "cli-publish").output
    assert "The object has the shape that the prompt names." in shown


def test_publishing_the_same_content_again_gives_the_same_version(
    rubrics: Callable[..., Result], rubric_file: Path
) -> None:
    first = rubrics("publish", "cli-twice", rubric_file, "--json")
    second = rubrics("publish", "cli-twice", rubric_file, "--json")
    assert json.loads(first.output) == json.loads(second.output)


def test_what_show_prints_as_json_can_be_published_under_another_name(
    rubrics: Callable[..., Result], rubric_file: Path, tmp_path: Path
) -> None:
    original = json.loads(rubrics("publish", "cli-original", rubric_file, "--json").output)
    copy = tmp_path / "copy.json"
    copy.write_text(rubrics("show", "cli-original@1", "--json").output)
    assert json.loads(rubrics("publish", "cli-copy", copy, "--json").output)["digest"] == original["digest"]


def test_an_alias_moves_and_the_listing_says_where_it_points(rubrics: Callable[..., Result], rubric_file: Path) -> None:
    rubrics("publish", "cli-alias", rubric_file)
    assert rubrics("alias", "cli-alias", "production", 1).output.strip() == "cli-alias@production is version 1"
    listed = json.loads(rubrics("list", "--json").output)
    assert [item["aliases"] for item in listed if item["name"] == "cli-alias"] == [{"production": 1}]
    assert "production → 1" in rubrics("list").output


def test_an_alias_that_is_not_where_it_was_expected_stays(rubrics: Callable[..., Result], rubric_file: Path) -> None:
    rubrics("publish", "cli-guarded", rubric_file)
    rubrics("alias", "cli-guarded", "production", 1)
    lost = rubrics("alias", "cli-guarded", "production", 1, "--expected", 2)
    assert lost.exit_code == 1
    assert "alias-changed" in lost.stderr


def test_an_alias_to_a_version_that_does_not_exist_is_refused(
    rubrics: Callable[..., Result], rubric_file: Path
) -> None:
    rubrics("publish", "cli-missing", rubric_file)
    refused = rubrics("alias", "cli-missing", "production", 7)
    assert refused.exit_code == 1
    assert "cli-missing@7" in refused.stderr


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "cannot be read as JSON"),
        ('{"task": "t2i", "criterions": []}', "criterions"),
        ('{"content": {"task": "painting"}}', "content.task"),
        ('{"task": "t2i", "criteria": [{"id": "Not A Name", "theme": "x"}]}', "criteria.0.id"),
    ],
)
def test_a_wrong_file_is_refused_with_one_line_before_anything_is_sent(
    arr: Callable[..., Result], tmp_path: Path, content: str, complaint: str
) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(content)
    result = arr("rubrics", "publish", "wrong", path, "--url", "http://127.0.0.1:9")
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_unknown_rubric_is_one_line_that_names_it(rubrics: Callable[..., Result]) -> None:
    result = rubrics("show", "nobody-knows")
    assert result.exit_code == 1
    assert "nobody-knows; `arr rubrics list` shows what there is" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["publish", "import"])
def test_a_name_that_no_set_can_have_is_refused_before_anything_is_sent(
    arr: Callable[..., Result], rubric_file: Path, command: str
) -> None:
    for name in ("Two Words", "a" * 65):
        result = arr("rubrics", command, name, rubric_file, "--url", "http://127.0.0.1:9")
        assert result.exit_code == 2
        assert f"{name!r} is no name for a rubric set; write lower-case letters" in result.stderr


@pytest.mark.parametrize("alias", ["none", "latest", "3", "Two Words"])
def test_an_alias_that_there_cannot_be_is_refused_before_anything_is_sent(
    arr: Callable[..., Result], alias: str
) -> None:
    result = arr("rubrics", "alias", "shapes", alias, 1, "--url", "http://127.0.0.1:9")
    assert result.exit_code == 2
    assert "alias: " in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_reference_that_cannot_be_read_says_which_forms_there_are(rubrics: Callable[..., Result]) -> None:
    result = rubrics("show", "Two Words")
    assert result.exit_code == 2
    assert "name@alias" in result.stderr


def test_no_service_at_the_url_is_said_with_the_next_step(arr: Callable[..., Result]) -> None:
    result = arr("rubrics", "list", "--url", "http://127.0.0.1:9")
    assert result.exit_code == 1
    assert "is `arr serve` running at http://127.0.0.1:9?" in result.stderr


def test_the_difference_of_two_versions_is_told_criterion_by_criterion(
    rubrics: Callable[..., Result], rubric_file: Path, tmp_path: Path
) -> None:
    rubrics("publish", "cli-diff", rubric_file)
    content = json.loads(rubric_file.read_text())
    colour, _ = content["criteria"]
    colour["tips"] = ["The colour is right."]
    changed = {**content, "task_description": "Drawings.", "criteria": [colour, {"id": "size", "theme": "Size"}]}
    second = tmp_path / "second.json"
    second.write_text(json.dumps(changed))
    rubrics("publish", "cli-diff", second)
    told = rubrics("diff", "cli-diff", 1, 2).stdout
    for line in (
        "changed colour: Colour",
        "  - The object has the colour that the prompt names.",
        "  + The colour is right.",
        "added size: Size",
        "removed shape: Shape",
        "task_description",
        "  + Drawings.",
    ):
        assert line in told
    found = json.loads(rubrics("diff", "cli-diff", 1, 2, "--json").stdout)
    assert {change["change"] for change in found["criteria"]} == {"changed", "added", "removed"}
    assert rubrics("diff", "cli-diff", 2, 2).stdout == "cli-diff@2 and @2 say the same\n"


def test_an_archived_version_still_resolves_and_comes_back(rubrics: Callable[..., Result], rubric_file: Path) -> None:
    rubrics("publish", "cli-archive", rubric_file)
    assert rubrics("archive", "cli-archive", 1).stdout == "cli-archive@1 is archived\n"
    assert "archived" in rubrics("show", "cli-archive@1").stdout
    assert rubrics("archive", "cli-archive", 1, "--undo").stdout == "cli-archive@1 is listed\n"


@pytest.mark.parametrize("name", ["out.json", "out.yaml"])
def test_what_is_exported_can_be_imported_and_says_where_it_came_from(
    rubrics: Callable[..., Result], rubric_file: Path, tmp_path: Path, name: str
) -> None:
    original = json.loads(rubrics("publish", "cli-export", rubric_file, "--json").stdout)
    file = tmp_path / name
    assert rubrics("export", "cli-export@1", file).exit_code == 0
    copy = json.loads(rubrics("import", f"cli-{name}", file, "--json").stdout)
    assert copy["digest"] == original["digest"]
    assert copy["provenance"]["method"] == "import"
    assert copy["provenance"]["parent"] == original["digest"]


def test_text_goes_out_and_comes_in_with_what_it_does_not_say(
    rubrics: Callable[..., Result], rubric_file: Path, tmp_path: Path
) -> None:
    rubrics("publish", "cli-text", rubric_file)
    text = rubrics("export", "cli-text", "--format", "text").stdout
    assert text.startswith("Rubric 1:\nTheme: Colour\n- Tip1: The object has the colour that the prompt names.\n")
    file = tmp_path / "rubrics.txt"
    file.write_text(text)
    imported = rubrics("import", "cli-edits", file, "--task", "edit", "--mode", "pointwise", "--json")
    content = json.loads(imported.stdout)["content"]
    assert (content["task"], content["mode"]) == ("edit", "pointwise")
    assert [criterion["id"] for criterion in content["criteria"]] == ["c1", "c2"]


def test_a_set_that_text_cannot_hold_is_refused_in_one_line(
    rubrics: Callable[..., Result], rubric_file: Path, tmp_path: Path
) -> None:
    content = json.loads(rubric_file.read_text())
    content["criteria"][0]["weight"] = 2
    weighted = tmp_path / "weighted.json"
    weighted.write_text(json.dumps(content))
    rubrics("publish", "cli-weighted", weighted)
    result = rubrics("export", "cli-weighted", tmp_path / "weighted.txt")
    assert result.exit_code == 2
    assert "weights have no place in it (colour)" in result.stderr
    assert not (tmp_path / "weighted.txt").exists()


def test_a_set_that_cannot_be_written_is_said_in_one_line(
    rubrics: Callable[..., Result], rubric_file: Path, tmp_path: Path
) -> None:
    rubrics("publish", "cli-unwritable", rubric_file)
    result = rubrics("export", "cli-unwritable", tmp_path / "no-folder" / "shapes.json")
    assert result.exit_code == 2
    assert result.stderr.endswith("shapes.json cannot be written: No such file or directory\n")
    assert result.stderr.count("\n") == 1


def test_a_file_whose_name_says_nothing_asks_for_the_format(rubrics: Callable[..., Result], tmp_path: Path) -> None:
    file = tmp_path / "rubrics"
    file.write_text("Theme: Colour")
    assert "--format" in rubrics("import", "cli-named", file).stderr
    assert rubrics("import", "cli-named", file, "--format", "text").exit_code == 0
