"""Rubric sets in files: what goes out comes in again, and what is no rubric set is told in one line."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from arr.rubrics.files import (
    RubricFileError,
    RubricFormat,
    format_of,
    import_provenance,
    read_rubric,
    write_rubric,
)
from shared_schemas.rubrics import Criterion, Language, Mode, RubricContent, RubricVersion, Task

letters = st.characters(exclude_categories=["Cs"], exclude_characters="\x7f", min_codepoint=32)
texts = st.text(letters | st.sampled_from("\t\n\r"), min_size=1, max_size=40)
contents = st.builds(
    RubricContent,
    task=st.sampled_from(Task),
    mode=st.sampled_from(Mode),
    language=st.sampled_from(Language),
    task_description=st.one_of(st.just(""), texts),
    criteria=st.lists(
        st.builds(
            Criterion,
            id=st.from_regex(r"[a-z0-9][a-z0-9._-]{0,8}", fullmatch=True),
            theme=texts,
            tips=st.lists(texts, max_size=3).map(tuple),
            weight=st.floats(0, 1e6),
        ),
        max_size=3,
        unique_by=lambda criterion: criterion.id,
    ).map(tuple),
)


def version_of(content: RubricContent, **provenance: object) -> RubricVersion:
    return RubricVersion(
        name="shapes",
        version=3,
        digest=content.digest,
        content=content,
        provenance=provenance,
        created="2026-01-02T03:04:05Z",
    )


@pytest.mark.parametrize("form", [RubricFormat.JSON, RubricFormat.YAML])
@example(content=RubricContent(task=Task.T2I, criteria=(Criterion(id="c1", theme="a\x85b\u2028c\ufeff"),)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=contents)
def test_a_version_goes_through_a_file_and_keeps_its_digest(
    tmp_path: Path, form: RubricFormat, content: RubricContent
) -> None:
    path = tmp_path / "rubric"
    path.write_text(write_rubric(version_of(content, method="arr", seed=3), form), encoding="utf-8")
    request, exported_from = read_rubric(path, form)
    assert request.content.digest == exported_from == content.digest
    assert request.provenance == {"method": "arr", "seed": 3}


def test_content_alone_is_a_rubric_file_too(tmp_path: Path) -> None:
    path = tmp_path / "rubric.yaml"
    path.write_text("task: edit\ncriteria:\n  - id: c1\n    theme: Sky\n    tips: [It is blue., 'No: clouds']\n")
    request, exported_from = read_rubric(path, format_of(path))
    tips = ("It is blue.", "No: clouds")
    assert request.content == RubricContent(task=Task.EDIT, criteria=(Criterion(id="c1", theme="Sky", tips=tips),))
    assert exported_from is None


def test_text_takes_what_it_does_not_say_from_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "rubric.txt"
    path.write_text("Theme: 天空\n- Tip1: 天空是蓝色的。\n", encoding="utf-8")
    request, _ = read_rubric(path, format_of(path), unsaid={"task": "edit", "language": "zh"})
    assert (request.content.task, request.content.language) == (Task.EDIT, Language.ZH)
    assert request.content.criteria[0].theme == "天空"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("rubric.json", "{", "cannot be read as JSON"),
        ("rubric.json", "[" * 100_000, "cannot be read as JSON"),
        ("rubric.json", '{"task": "t2i", "task": "edit"}', "'task' stands twice"),
        ("rubric.json", "[]", "holds no rubric set: write an object with `task`"),
        ("rubric.yaml", "", "holds no rubric set"),
        ("rubric.yaml", "a: [", "cannot be read as YAML: line 1, column 5: "),
        ("rubric.yaml", "content:\n\ttask: t2i", "YAML: line 2, column 1: found character '.t'"),
        (
            "rubric.yaml",
            "content:\n  task: t2i\n  criteria: [{id: c1, theme: A}]\n  criteria: [{id: c2, theme: B}]",
            "line 4, column 3: 'criteria' stands twice",
        ),
        ("rubric.yaml", "content: {task: t2i}\nprovenance: {made: 2026-01-02}", "put dates in quotes"),
        ("rubric.yaml", "!!python/object/apply:os.system ['true']", "cannot be read as YAML"),
        ("rubric.yaml", "task: t2i\ncriterions: []", "criterions"),
        ("rubric.txt", "nothing", "line 1"),
        ("rubric.txt", f"Theme: {'x' * 300}", "at most 200 characters"),
    ],
)
def test_what_is_no_rubric_is_refused_in_one_line_that_names_the_file(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(RubricFileError, match=message) as refused:
        read_rubric(path, format_of(path), unsaid={"task": "t2i"})
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_name_that_does_not_say_the_format_asks_for_it() -> None:
    with pytest.raises(RubricFileError, match="--format"):
        format_of(Path("rubric"))


def test_provenance_names_the_file_and_does_not_nest_import_in_import(tmp_path: Path) -> None:
    content = RubricContent(task=Task.T2I)
    provenance: dict[str, object] = {"method": "arr"}
    for _ in range(40):  # deeper than a provenance may be
        path = tmp_path / "again.json"
        path.write_text(json.dumps({"content": content.model_dump(mode="json"), "provenance": provenance}))
        request, exported_from = read_rubric(path, RubricFormat.JSON)
        provenance = import_provenance(request, path, RubricFormat.JSON, exported_from=exported_from)
    assert provenance == {
        **{"method": "import", "file": "again.json", "format": "json", "parent": None},
        "original": {"method": "arr"},
    }
