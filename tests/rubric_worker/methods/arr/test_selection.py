import asyncio
from collections.abc import Sequence

import numpy as np

from services.judging.writing import ProposedCriterion
from services.rubric_worker.labelled_pairs import ImagePair
from services.rubric_worker.methods.arr.candidates import Candidate, without_likes
from services.rubric_worker.methods.arr.selection import greedy_choice, relative_growth, select
from services.rubric_worker.methods.embeddings import Matrix, TfidfEmbedder, unit_rows
from services.rubric_worker.methods.labels import Shown
from shared_schemas.rubrics import Language


def shown(*numbers: int) -> frozenset[Shown]:
    return frozenset(ImagePair(prompt=str(n), first="a", second="b", source=None) for n in numbers)


def candidate(statement: str, *held_on: int) -> Candidate:
    return Candidate(criterion=ProposedCriterion(theme="", statement=statement), held_on=shown(*held_on))


class Directions:
    """An embedder for statements that are numbers: angles in degrees."""

    async def embed(self, statements: Sequence[str]) -> Matrix:
        angles = np.deg2rad([float(statement) for statement in statements])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_the_next_row_is_the_one_that_lies_furthest_from_those_chosen() -> None:
    rows = unit_rows(np.array([[1.0, 0, 0], [0.9, 0.1, 0], [0, 1.0, 0], [0.7, 0.7, 0]]))
    preference = [(0, place) for place in range(4)]
    assert greedy_choice(rows, preference=preference, max_rows=2, min_relative_gain=0) == [0, 2]


def test_of_equal_gains_the_row_with_more_behind_it_is_taken() -> None:
    preference = [(-1, 0), (-5, 1), (-2, 2)]
    assert greedy_choice(np.eye(3), preference=preference, max_rows=3, min_relative_gain=0) == [1, 2, 0]


def test_choosing_stops_when_a_row_adds_little_beside_the_first() -> None:
    rows = unit_rows(np.array([[1.0, 0], [0, 1.0], [1.0, 0.02]]))
    preference = [(0, place) for place in range(3)]
    assert greedy_choice(rows, preference=preference, max_rows=9, min_relative_gain=0.2) == [0, 1]
    assert len(greedy_choice(rows, preference=preference, max_rows=9, min_relative_gain=0)) == 3


def test_gains_are_those_of_all_candidates_however_many_are_chosen() -> None:
    # Rows at 0° and 30° in d = 2 of n = 4: α = 2/(4 · 0.01) = 50. The first gain is ½ log 51 = 1.966, the second
    # ½ log(1 + 50 · (sin² 30° + cos² 30°/51)) = 1.328, a share of 0.675; with n = 1, 2, 8 it would be 0.744, 0.712
    # and 0.637.
    angles = np.deg2rad([0.0, 30.0, 0.0, 0.0])
    rows, preference = np.stack([np.cos(angles), np.sin(angles)], axis=1), [(0, place) for place in range(4)]
    assert greedy_choice(rows, preference=preference, max_rows=2, min_relative_gain=0.67) == [0, 1]
    assert greedy_choice(rows, preference=preference, max_rows=2, min_relative_gain=0.69) == [0]


def test_rows_without_a_direction_are_never_chosen() -> None:
    preference = [(0, 0), (0, 1)]
    assert greedy_choice(np.zeros((2, 2)), preference=preference, max_rows=2, min_relative_gain=0) == []


def test_of_likes_the_first_stays_with_all_that_was_verified() -> None:
    vectors = unit_rows(np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]))
    kept, places = without_likes([candidate("a", 1), candidate("b", 1, 2), candidate("c", 3)], vectors)
    assert places == [0, 2]
    assert [(one.criterion.statement, one.held_on) for one in kept] == [("a", shown(1, 2)), ("c", shown(3))]


async def test_what_was_verified_on_more_is_selected_first_and_likes_count_once() -> None:
    candidates = [candidate("0", 1), candidate("90", 1, 2, 3), candidate("5", 2)]
    selection = await select(candidates, Directions(), max_criteria=5, min_relative_gain=0.01, seed=0)
    assert selection.num_candidates == 2
    assert [one.criterion.statement for one in selection.chosen] == ["90", "0"]


async def test_the_seed_decides_between_equals_and_nothing_else_does() -> None:
    candidates = [candidate(str(angle), 1) for angle in range(0, 180, 30)]

    async def first(seed: int) -> str:
        chosen = await select(candidates, Directions(), max_criteria=1, min_relative_gain=0, seed=seed)
        return chosen.chosen[0].criterion.statement

    assert [await first(seed) for seed in range(9)] == [await first(seed) for seed in range(9)]
    assert len({await first(seed) for seed in range(9)}) > 1


async def test_saying_the_same_again_is_hardly_growth() -> None:
    embedder = TfidfEmbedder(Language.EN)
    first = ["The object is red.", "The background is plain."]
    nothing_new = [*first, "The object is really red.", "The background is plain and even."]
    something_new = [*first, "Two cats are visible.", "Hands have five fingers."]
    assert await relative_growth(first, first, first, embedder) == 0
    assert await relative_growth([], [], first, embedder) == 0
    small, great = [await relative_growth(first, first, now, embedder) for now in (nothing_new, something_new)]
    assert small < great


async def test_growth_is_computed_while_others_go_on() -> None:
    other = asyncio.create_task(asyncio.sleep(0, "done"))
    await relative_growth(["0"], ["0", "30"], ["0", "30", "60"], Directions())
    assert other.done()
