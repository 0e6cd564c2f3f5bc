"""Candidates: each once, under an id that stays."""

import asyncio
from collections.abc import Sequence

import numpy as np

from services.judging.writing import ProposedCriterion
from services.rubric_worker.methods.autorubric_t2i.candidates import Candidates, saying_something_new
from services.rubric_worker.methods.embeddings import Matrix, TfidfEmbedder
from shared_schemas.rubrics import Language


def candidates(max_candidates: int = 100) -> Candidates:
    return Candidates(TfidfEmbedder(Language.EN), max_candidates=max_candidates)


def criteria(*statements: str, theme: str = "Theme") -> list[ProposedCriterion]:
    return [ProposedCriterion(theme=theme, statement=statement) for statement in statements]


def statements(found: Candidates) -> list[str]:
    return [" ".join(criterion.tips) for criterion in found.criteria]


async def test_what_has_been_said_is_not_added_again() -> None:
    found = candidates()
    assert await found.add(criteria("The sky is blue.", "The sky is blue!", "Every finger is there.")) == 2
    assert await found.add(criteria("the sky IS blue", "The horizon is level.")) == 1
    assert statements(found) == ["The sky is blue.", "Every finger is there.", "The horizon is level."]


class Unalike:
    """Embeds without ever waiting; no statement is like another."""

    async def embed(self, statements: Sequence[str]) -> Matrix:
        return np.eye(len(statements))


async def test_likes_are_looked_for_while_others_go_on() -> None:
    other = asyncio.create_task(asyncio.sleep(0, "done"))
    assert await Candidates(Unalike(), max_candidates=9).add(criteria("The sky is blue.", "The horizon is level.")) == 2
    assert other.done()


async def test_ids_stay_whatever_comes_later() -> None:
    found = candidates()
    await found.add(criteria("The sky is blue.", "Every finger is there."))
    before = found.ids
    await found.add(criteria("The horizon is level."))
    assert found.ids[:2] == before == ("theme", "theme-2")
    assert found.ids[2] == "theme-3"


async def test_criteria_that_compare_or_name_a_place_are_refused() -> None:
    found = candidates()
    assert await found.add(criteria("It is better than the other image.", "Image 1 is sharp.")) == 0
    assert len(found) == 0
    assert found.num_refused == 2


async def test_there_are_never_more_than_asked_for() -> None:
    found = candidates(max_candidates=2)
    assert await found.add(criteria("The sky is blue.", "Every finger is there.", "The horizon is level.")) == 2
    assert await found.add(criteria("Shadows fall to one side.")) == 0


def test_a_row_is_new_when_nothing_kept_before_is_like_it() -> None:
    def unit(*angles: float) -> Sequence[Sequence[float]]:
        return [[np.cos(angle), np.sin(angle)] for angle in angles]

    assert saying_something_new(np.array(unit(0.0, 0.1, 1.0, 1.1, 0.5)), num_known=1) == [2, 4]
    assert saying_something_new(np.array(unit(0.0, 0.1)), num_known=0) == [0]
