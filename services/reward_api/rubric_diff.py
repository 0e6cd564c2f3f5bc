"""What became of a rubric set from one version to another. A pure function of both contents.

Criteria are the same when their ids are, whatever they say. The one rule: each criterion that differs is named once,
by the greatest thing that happened to it.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from shared_schemas.rubrics import Change, Criterion, CriterionChange, RubricContent, RubricDiff, RubricVersion


def diff_versions(before: RubricVersion, after: RubricVersion) -> RubricDiff:
    """What one must know who knows `before`, to know `after`; both are of one set."""
    return RubricDiff(
        name=after.name,
        before=before.version,
        after=after.version,
        criteria=_criterion_changes(before.content.criteria, after.content.criteria),
        fields=_other_changes(before.content, after.content),
    )


def _criterion_changes(before: Sequence[Criterion], after: Sequence[Criterion]) -> tuple[CriterionChange, ...]:
    old = {criterion.id: criterion for criterion in before}
    new = {criterion.id: criterion for criterion in after}
    moved = _moved([criterion.id for criterion in before if criterion.id in new], [id for id in new if id in old])
    changes = [
        CriterionChange(change=change, before=old.get(criterion.id), after=criterion)
        for criterion in after
        if (change := _change(old.get(criterion.id), criterion, is_moved=criterion.id in moved)) is not None
    ]
    gone = [criterion for criterion in before if criterion.id not in new]
    return (*changes, *(CriterionChange(change=Change.REMOVED, before=criterion, after=None) for criterion in gone))


def _change(before: Criterion | None, after: Criterion, *, is_moved: bool) -> Change | None:
    if before is None:
        return Change.ADDED
    if (before.theme, before.tips) != (after.theme, after.tips):
        return Change.CHANGED
    if before.weight != after.weight:
        return Change.REWEIGHTED
    return Change.MOVED if is_moved else None


def _moved(before: Sequence[str], after: Sequence[str]) -> set[str]:
    """The fewest of these ids that must be taken to another place to get from one order to the other.

    All but a longest increasing subsequence of the old places, in the new order: the ends of the best subsequences of
    each length are kept, and for each id the one that it continues.
    """
    place = {id: index for index, id in enumerate(before)}
    ends: list[str] = []
    continues: dict[str, str | None] = {}
    for id in after:
        length = bisect_left(ends, place[id], key=place.__getitem__)
        continues[id] = ends[length - 1] if length else None
        ends[length:] = [id, *ends[length + 1 :]]
    stayed, last = set[str](), ends[-1] if ends else None
    while last is not None:
        stayed.add(last)
        last = continues[last]
    return set(after) - stayed


def _other_changes(before: RubricContent, after: RubricContent) -> dict[str, tuple[Any, Any]]:
    old, new = (content.model_dump(mode="json", exclude={"criteria"}) for content in (before, after))
    return {name: (old[name], new[name]) for name in new if old[name] != new[name]}
