"""How many calls a group can need, counted by hand."""

import pytest

from services.reward_api.inquiry import num_calls
from shared_schemas.reward import Group, Orders, RewardRequest
from shared_schemas.rubrics import Criterion, Mode, RubricContent, Task

THREE_CRITERIA = RubricContent(
    task=Task.T2I, criteria=tuple(Criterion(id=name, theme=name) for name in ("colour", "shape", "count"))
)
GROUPS = (Group(id="two", prompt="p", candidates=("a", "b")), Group(id="four", prompt="p", candidates=tuple("abcd")))


@pytest.mark.parametrize(
    ("mode", "orders", "per_criterion", "expected"),
    [
        (Mode.PAIRWISE, Orders.BOTH, False, 2 * (1 + 6)),
        (Mode.PAIRWISE, Orders.ADAPTIVE, False, 2 * (1 + 6)),
        (Mode.PAIRWISE, Orders.SINGLE, False, 1 + 6),
        (Mode.PAIRWISE, Orders.SINGLE, True, 1 + 6 + 3 * 6),
        (Mode.POINTWISE, Orders.BOTH, False, 3 * 6),
        (Mode.POINTWISE, Orders.BOTH, True, 3 * 6),
    ],
)
def test_every_pair_order_and_criterion_is_a_call(
    mode: Mode, orders: Orders, per_criterion: bool, expected: int
) -> None:
    meta = RewardRequest(rubric=THREE_CRITERIA, groups=GROUPS, orders=orders, per_criterion=per_criterion)
    assert sum(num_calls(group, meta, THREE_CRITERIA, mode) for group in GROUPS) == expected


def test_without_criteria_there_is_nothing_to_rate() -> None:
    rubric = RubricContent(task=Task.T2I)
    meta = RewardRequest(rubric=rubric, groups=GROUPS, per_criterion=True)
    assert [num_calls(group, meta, rubric, Mode.PAIRWISE) for group in GROUPS] == [2, 12]
