"""From statements to a rubric set: one criterion each, or the themes that they were grouped into.

Owns the ids of criteria. The one rule: equal statements in equal order make an equal set, down to its digest.
"""

import re
from collections.abc import Sequence

from services.judging.writing import Assignment, ProposedCriterion
from shared_schemas.rubrics import Criterion, RubricContent

_MAX_ID_CHARS = 40
"""Of a name's 64; the rest is room for a number."""


def rubric_of(criteria: Sequence[Criterion], *, about: Assignment) -> RubricContent:
    """A rubric set of these criteria; none = the judge's own taste, in the run's language."""
    return RubricContent(
        task=about.task,
        mode=about.mode,
        language=about.language,
        task_description=about.task_description,
        criteria=tuple(criteria),
    )


def one_by_one(statements: Sequence[ProposedCriterion]) -> tuple[Criterion, ...]:
    """Each statement as a criterion of its own."""
    return with_ids([(statement.theme, (statement.statement,)) for statement in statements])


def with_ids(themes: Sequence[tuple[str, Sequence[str]]]) -> tuple[Criterion, ...]:
    """Themes and their tips, with ids made from the themes."""
    ids = ids_of([theme for theme, _ in themes])
    return tuple(Criterion(id=id, theme=theme, tips=tuple(tips)) for id, (theme, tips) in zip(ids, themes, strict=True))


def ids_of(themes: Sequence[str]) -> tuple[str, ...]:
    """`colour-of-the-object`; `c1`, `c2` … by place where a theme has no ASCII letters; repeated ones are numbered."""
    ids: list[str] = []
    for place, theme in enumerate(themes, 1):
        slug = "-".join(re.findall(r"[a-z0-9]+", theme.casefold()))[:_MAX_ID_CHARS].strip("-") or f"c{place}"
        id, number = slug, 1
        while id in ids:
            number += 1
            id = f"{slug}-{number}"
        ids.append(id)
    return tuple(ids)
