"""Diffs between versions, worked out by hand and by properties."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.reward_api.rubric_diff import diff_versions
from shared_schemas.rubrics import Change, Criterion, Mode, RubricContent, RubricDiff, RubricVersion, Task

A, B, C, D = (Criterion(id=id, theme=f"theme {id}", tips=("a tip",)) for id in "abcd")


def version(*criteria: Criterion, number: int = 1, **fields: object) -> RubricVersion:
    content = RubricContent.model_validate({"task": Task.T2I, "criteria": criteria, **fields})
    return RubricVersion(
        name="set", version=number, digest=content.digest, content=content, provenance={}, created=datetime.now(UTC)
    )


def changes(before: tuple[Criterion, ...], after: tuple[Criterion, ...]) -> list[tuple[str, str]]:
    found = diff_versions(version(*before), version(*after, number=2)).criteria
    return [((one.after or one.before or A).id, one.change.value) for one in found]


def with_changes(criterion: Criterion, **values: object) -> Criterion:
    return criterion.model_copy(update=values)


def test_a_diff_says_between_which_versions_of_which_set() -> None:
    found = diff_versions(version(A, number=3), version(A, number=7))
    assert found == RubricDiff(name="set", before=3, after=7, criteria=(), fields={})


def test_criteria_come_in_the_order_of_the_newer_version_and_removed_ones_last() -> None:
    assert changes((A, B, C), (D, B)) == [("d", "added"), ("a", "removed"), ("c", "removed")]


def test_an_added_criterion_has_no_before_and_a_removed_one_no_after() -> None:
    added, removed = diff_versions(version(A), version(B)).criteria
    assert (added.before, added.after) == (None, B)
    assert (removed.before, removed.after) == (A, None)


@pytest.mark.parametrize(
    ("values", "change"),
    [
        ({"theme": "other"}, "changed"),
        ({"tips": ("another tip",)}, "changed"),
        ({"tips": ("another tip",), "weight": 2.0}, "changed"),
        ({"weight": 2.0}, "reweighted"),
    ],
)
def test_words_count_more_than_weights(values: dict[str, object], change: str) -> None:
    assert changes((A, B), (with_changes(A, **values), B)) == [("a", change)]


@pytest.mark.parametrize(
    ("before", "after", "moved"),
    [
        ((A, B, C, D), (B, C, D, A), ["a"]),
        ((A, B, C, D), (D, A, B, C), ["d"]),
        ((A, B, C), (A, D, B, C), []),
        ((A, B, C), (B, C), []),
        ((A, B, C, D), (C, D, A, B), ["c", "d"]),
        ((A, B, C), (C, B, A), ["c", "b"]),
    ],
)
def test_only_what_was_taken_to_another_place_has_moved(
    before: tuple[Criterion, ...], after: tuple[Criterion, ...], moved: list[str]
) -> None:
    assert [id for id, change in changes(before, after) if change == "moved"] == moved


def test_a_criterion_that_moved_and_changed_is_named_once() -> None:
    assert changes((A, B, C), (with_changes(C, weight=2.0), A, B)) == [("c", "reweighted")]


def test_everything_else_that_differs_is_named_with_both_values() -> None:
    before = version(A, task_description="posters")
    after = version(A, task_description="icons", mode=Mode.POINTWISE)
    found = diff_versions(before, after)
    assert found.criteria == ()
    assert found.fields == {"task_description": ("posters", "icons"), "mode": ("pairwise", "pointwise")}


criterion = st.builds(
    Criterion,
    id=st.sampled_from("abcdefgh"),
    theme=st.sampled_from(["one", "two"]),
    tips=st.sampled_from([(), ("tip",)]),
    weight=st.sampled_from([1.0, 2.0]),
)
criteria = st.lists(criterion, unique_by=lambda one: one.id, max_size=8).map(tuple)


@given(criteria)
def test_nothing_differs_from_itself(same: tuple[Criterion, ...]) -> None:
    found = diff_versions(version(*same), version(*same))
    assert (found.criteria, found.fields) == ((), {})


@given(criteria, criteria)
def test_every_criterion_that_differs_is_named_exactly_once(
    before: tuple[Criterion, ...], after: tuple[Criterion, ...]
) -> None:
    named = changes(before, after)
    old, new = {one.id: one for one in before}, {one.id: one for one in after}
    not_moved = [id for id, change in named if change != Change.MOVED]
    assert len({id for id, _ in named}) == len(named)
    assert sorted(not_moved) == sorted(id for id in old.keys() | new.keys() if old.get(id) != new.get(id))


@given(criteria, criteria)
def test_the_older_version_and_the_diff_make_the_newer_one(
    before: tuple[Criterion, ...], after: tuple[Criterion, ...]
) -> None:
    found = diff_versions(version(*before), version(*after)).criteria
    patched = {one.id: one for one in before}
    for one in found:
        patched.pop((one.before or one.after or A).id, None)
    untouched = list(patched)
    patched |= {one.after.id: one.after for one in found if one.after is not None}
    assert patched == {one.id: one for one in after}
    places = [[one.id for one in after].index(id) for id in untouched]
    assert all(earlier < later for earlier, later in pairwise(places))
