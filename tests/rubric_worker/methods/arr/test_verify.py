"""What counts as verified, on opinions that are put together by hand."""

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from services.judging.writing import Assignment, ProposedCriterion
from services.rubric_worker.labelled_pairs import ImagePair
from services.rubric_worker.methods.arr.context import Context
from services.rubric_worker.methods.arr.verify import Verification, draw_others, verify, weigh
from services.rubric_worker.methods.labels import Known, LearningRow, Shown, Sign, learning_rows
from services.rubric_worker.methods.opinions import Opinion, Opinions
from shared_schemas.datasets import DatasetRow
from shared_schemas.rubrics import Language, Mode, RubricContent, Task

TIE_BAND = 0.05
ABOUT = Assignment(
    task=Task.T2I, mode=Mode.PAIRWISE, language=Language.EN, task_description="", min_score=None, max_score=None
)


def known(sign: Sign, name: str = "a") -> Known:
    return Known(shown=ImagePair(prompt=name, first="1", second="2", source=None), sign=sign)


def opinion(lead: float) -> Opinion:
    return Opinion(preferred=0 if abs(lead) < TIE_BAND else 1 if lead > 0 else -1, lead=lead, in_nats=True)


def test_criteria_hold_when_the_judge_says_what_people_say() -> None:
    for sign, lead in ((1, 0.4), (-1, -0.4)):
        verification = weigh([(known(1 if sign > 0 else -1), opinion(lead))], [], band=TIE_BAND)
        assert (verification.passed, verification.lead, verification.is_tie) == (True, 0.4, False)


@pytest.mark.parametrize(("lead", "is_tie"), [(-0.4, False), (0.04, True), (0.0, True), (-0.04, True)])
def test_a_wrong_or_narrow_verdict_verifies_nothing(lead: float, is_tie: bool) -> None:
    verification = weigh([(known(1), opinion(lead))], [], band=TIE_BAND)
    assert (verification.passed, verification.lead, verification.is_tie) == (False, lead, is_tie)
    assert verification.held_on == frozenset()


def test_of_three_images_the_mean_lead_over_the_pairs_counts() -> None:
    own = [(known(1, "a"), opinion(0.6)), (known(-1, "b"), opinion(0.2)), (known(1, "c"), opinion(0.2))]
    verification = weigh(own, [], band=TIE_BAND)
    assert verification.lead == pytest.approx(0.2)
    assert verification.passed
    assert verification.held_on == {known(1, "a").shown, known(1, "c").shown}


@pytest.mark.parametrize(
    ("leads", "holds"), [((0.4, -0.4), True), ((0.4, 0.0), True), ((0.0, 0.0), True), ((-0.4, 0.0), False), ((), True)]
)
def test_elsewhere_criteria_hold_at_least_as_often_as_not(leads: tuple[float, ...], holds: bool) -> None:
    elsewhere = [(known(1, str(place)), opinion(lead)) for place, lead in enumerate(leads)]
    verification = weigh([(known(1, "own"), opinion(1.0))], elsewhere, band=TIE_BAND)
    assert (verification.holds_elsewhere, verification.passed) == (holds, holds)


def test_a_judge_that_only_chooses_verifies_by_its_choice() -> None:
    choice = Opinion(preferred=1, lead=1.0, in_nats=False)
    verification = weigh([(known(1), choice)], [], band=TIE_BAND)
    assert (verification.passed, verification.in_nats) == (True, False)


class Noted(Opinions):
    """Opinions of a judge that finds every first image better, and what they are asked, in order."""

    def __init__(self) -> None:
        self.asked: list[tuple[Shown, RubricContent]] = []

    async def of(self, shown: Shown, rubric: RubricContent) -> Opinion:
        """See `Opinions`."""
        self.asked.append((shown, rubric))
        return opinion(0.4)

    def band(self, rubric: RubricContent) -> float:
        """See `Opinions`."""
        return TIE_BAND


async def test_not_even_the_order_of_the_questions_tells_the_label() -> None:
    criteria = [ProposedCriterion(theme=name, statement=f"The {name} is right.") for name in ("form", "colour")]
    noted, passed = [], []
    for places in ((1, 2), (2, 1)):
        own, *others = rows(8, places=places)
        opinions = Noted()
        context = cast("Context", SimpleNamespace(opinions=opinions, about=ABOUT))
        elsewhere = draw_others(own, others, num=3, seed=1)
        verification = await verify(criteria, own, (*elsewhere[:2], swapped(elsewhere[2])), context)
        assert isinstance(verification, Verification)
        noted.append(opinions.asked)
        passed.append(verification.passed)
    assert noted[0] == noted[1]
    assert len(noted[0]) == 4
    assert passed == [True, False]


def swapped(one: Known) -> Known:
    """The same with the other label."""
    return replace(one, sign=-1 if one.sign == 1 else 1)


def rows(num: int, *, places: tuple[int, int] = (1, 2)) -> tuple[LearningRow, ...]:
    images = tuple(f"sha256:{index:064x}" for index in range(2))
    found = [DatasetRow(prompt=f"prompt {number // 2}", images=images, rank=places, id=None) for number in range(num)]
    return learning_rows(found, mode=Mode.PAIRWISE, scores=None)


def test_others_are_of_other_prompts_and_drawn_by_seed() -> None:
    some = rows(12)
    drawn = [draw_others(some[0], some, num=3, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(other.shown.prompt != some[0].prompt for others in drawn for other in others)
    assert len(draw_others(some[0], some, num=99, seed=1)) == 10
