"""The reference implementation's text form: written and read back, and what it refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arr.rubrics.text_form import TextFormError, read_text, write_text
from shared_schemas.rubrics import Criterion, Exemplar, RubricContent, Task

TEXT = """Rubric 1:
Theme: Objects and counts
- Tip1: Every object that the prompt names is there.
- Tip2: There are as many of each as the prompt says.

Rubric 2:
Theme: Composition
"""
COUNTS = Criterion(
    id="c1",
    theme="Objects and counts",
    tips=("Every object that the prompt names is there.", "There are as many of each as the prompt says."),
)
DIGEST = f"sha256:{'0' * 64}"

lines = (
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f", min_codepoint=32), max_size=60)
    .map(str.strip)
    .filter(lambda text: text != "")
)
themes = st.tuples(lines, st.lists(lines, max_size=4))


def content(*criteria: Criterion) -> RubricContent:
    return RubricContent(task=Task.T2I, criteria=criteria)


def test_a_set_is_written_as_the_reference_writes_it() -> None:
    assert write_text(content(COUNTS, Criterion(id="c2", theme="Composition"))) == TEXT


def test_what_the_reference_writes_is_read() -> None:
    assert read_text(TEXT) == (COUNTS, Criterion(id="c2", theme="Composition"))


@given(st.lists(themes, min_size=1, max_size=5))
def test_every_set_of_one_line_themes_and_tips_is_read_back_as_it_was(sets: list[tuple[str, list[str]]]) -> None:
    criteria = tuple(
        Criterion(id=f"c{number}", theme=theme, tips=tuple(tips)) for number, (theme, tips) in enumerate(sets, start=1)
    )
    assert read_text(write_text(content(*criteria))) == criteria


@pytest.mark.parametrize(
    "text",
    [
        "Theme: A\n- Tip1: b",
        "\ufeffrubric 1\r\nTHEME: A\r\n\r\n- tip 1: b\r\n",
        "Rubric 1.\n  Theme：A\n  Tip1：b",
        "Theme: A\n* b",
        "Theme: A\n• Tip: b",
    ],
)
def test_other_ways_of_writing_the_same_are_read_too(text: str) -> None:
    assert read_text(text) == (Criterion(id="c1", theme="A", tips=("b",)),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no rubric in it"),
        ("Rubric 1:\n", "there is no rubric in it"),
        ("- Tip1: b\nTheme: A", "line 1: a tip before"),
        ("Theme: A\nand a line more", "line 2: 'and a line more' is neither"),
        ("Theme:  \n", "line 1 says nothing"),
        ("Theme: A\n- Tip1:", "line 2 says nothing"),
    ],
)
def test_text_of_another_form_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(TextFormError, match=message):
        read_text(text)


def test_what_has_no_place_in_the_form_is_refused_all_at_once() -> None:
    exemplar = Exemplar(prompt="a cat", preferred=DIGEST, dispreferred=DIGEST, rationale="It is a cat.")
    weighted = COUNTS.model_copy(update={"weight": 2.0})
    broken = Criterion(id="c2", theme="Two\nlines", tips=("one", " blanks "))
    full = RubricContent(task=Task.T2I, criteria=(weighted, broken), guide=(exemplar,))
    with pytest.raises(TextFormError) as refused:
        write_text(full)
    assert "weights have no place in it (c1)" in str(refused.value)
    assert "exemplars have no place in it" in str(refused.value)
    assert "c2 has a line break" in str(refused.value)


def test_a_set_without_criteria_is_no_text() -> None:
    with pytest.raises(TextFormError, match="without criteria"):
        write_text(content())
