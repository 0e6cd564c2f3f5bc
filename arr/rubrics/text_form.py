"""Rubric sets as the method's reference implementation writes them: plain text, a theme with its tips.

    Rubric 1:
    Theme: Objects and counts
    - Tip1: Every object that the prompt names is there.
    - Tip2: There are as many of each as the prompt says.

    Rubric 2:
    Theme: Composition

Holds themes and tips of one line each. What has no place in it – weights, exemplars, line breaks – is refused when it
is written. The one rule: what was written is read back as it was, ids apart, which are c1, c2 … in order.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from shared_schemas.rubrics import Criterion, RubricContent

_HEADING = re.compile(r"rubric\s*\d*\s*[:：.]?\s*", re.IGNORECASE)
_THEME = re.compile(r"theme\s*[:：](.*)", re.IGNORECASE)
_TIP = re.compile(r"(?:[-*•]\s*)?tip\s*\d*\s*[:：](.*)|[-*•]\s(.*)", re.IGNORECASE)


class TextFormError(Exception):
    """The text is not of this form, or the rubric set does not fit into it; the message is one line."""


@dataclass(slots=True)
class _Theme:
    theme: str
    tips: list[str] = field(default_factory=list)


def write_text(content: RubricContent) -> str:
    """The criteria as text, ending in a line break. Raises `TextFormError` naming all that has no place in it."""
    if problems := list(_problems(content)):
        raise TextFormError("; ".join(problems))
    return "\n".join(_block(number, criterion) for number, criterion in enumerate(content.criteria, start=1))


def read_text(text: str) -> tuple[Criterion, ...]:
    """The criteria of a text, with the ids c1, c2 …

    Also reads `*` and `•` for `-`, tips without a number or without `Tip`, and Chinese colons. Raises `TextFormError`
    naming the first line that is wrong, and for a text without a theme.
    """
    themes: list[_Theme] = []
    for number, line in enumerate(text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n"), start=1):
        _take(line.strip(), number, themes)
    if not themes:
        raise TextFormError("there is no rubric in it: a rubric begins with a line `Theme: …`")
    return tuple(
        Criterion(id=f"c{number}", theme=each.theme, tips=tuple(each.tips))
        for number, each in enumerate(themes, start=1)
    )


def _take(line: str, number: int, themes: list[_Theme]) -> None:
    """Add what a line says to the themes so far."""
    if not line or _HEADING.fullmatch(line):
        return
    if match := _THEME.fullmatch(line):
        themes.append(_Theme(_said(match[1], number)))
    elif match := _TIP.fullmatch(line):
        if not themes:
            raise TextFormError(f"line {number}: a tip before the first `Theme: …`")
        themes[-1].tips.append(_said(match[1] if match[1] is not None else match[2], number))
    else:
        raise TextFormError(
            f"line {number}: {line[:60]!r} is neither `Rubric 1:`, `Theme: …` nor `- Tip1: …`; every theme and tip is "
            "one line"
        )


def _said(text: str, number: int) -> str:
    if not (said := text.strip()):
        raise TextFormError(f"line {number} says nothing after the colon")
    return said


def _block(number: int, criterion: Criterion) -> str:
    lines = [f"Rubric {number}:", f"Theme: {criterion.theme}"]
    lines += [f"- Tip{place}: {tip}" for place, tip in enumerate(criterion.tips, start=1)]
    return "".join(f"{line}\n" for line in lines)


def _problems(content: RubricContent) -> Iterable[str]:
    if not content.criteria:
        yield "a set without criteria is no text"
    if weighted := [criterion.id for criterion in content.criteria if criterion.weight != 1.0]:
        yield f"weights have no place in it ({', '.join(weighted)})"
    if content.guide:
        yield f"exemplars have no place in it (the guide has {len(content.guide)})"
    for criterion in content.criteria:
        if any(text != text.strip() or re.search(r"[\r\n]", text) for text in (criterion.theme, *criterion.tips)):
            yield f"{criterion.id} has a line break, or blanks at an end; a theme or tip is one line"
