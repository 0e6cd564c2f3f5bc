"""Criteria that somebody could have written down without looking at a single pair, and sets drawn from them.

Owns what a learned set must beat beside the judge without rubrics: sets of the same form, picked by chance. Some of the
forty are to the point for one of the two tasks, the rest for neither; a set of ten usually has a few of the good ones.
"""

from collections.abc import Iterator

import numpy as np

from shared_schemas.rubrics import Criterion, RubricContent

NUM_SETS = 10

POOL = (
    "The composition is balanced and leads the eye.",
    "The picture is vivid and colourful.",
    "The exposure is right: bright, without burnt-out areas.",
    "There is a strong contrast between light and dark.",
    "The main subject is sharp, with crisp edges.",
    "The object has the colour that the prompt names.",
    "The mood of the picture fits its subject.",
    "The perspective is convincing.",
    "Colours are saturated and full of life.",
    "The lighting is warm and inviting.",
    "The shape of the object is the one that was asked for.",
    "The style is consistent throughout.",
    "The picture looks like the work of a professional.",
    "Textures are rich in detail.",
    "The background is plain and does not distract.",
    "The picture is free of grain and artefacts.",
    "Shadows fall in one direction.",
    "The number of objects is right.",
    "The subject fills the frame.",
    "The picture tells a story.",
    "The scene has depth.",
    "Nothing is blurred that should be in focus.",
    "Highlights and darks are well separated: the contrast is high.",
    "The picture is light and friendly, never dark.",
    "The instruction was carried out.",
    "What was not asked to change is preserved.",
    "The fill is even, without spots.",
    "The outline is clean and closed.",
    "Materials look real.",
    "Proportions are natural.",
    "The palette is harmonious and vibrant.",
    "The eye rests on the most important part first.",
    "There is enough empty space around the subject.",
    "The picture would look good on a wall.",
    "The result is what a person would expect.",
    "The rendering is smooth and modern.",
    "Lines are parallel where they should be.",
    "The result is surprising and creative.",
    "The picture is brightly lit from the front.",
    "Sharpness is even from corner to corner.",
)


def random_sets(like: RubricContent, *, num_sets: int = NUM_SETS, seed: int = 0) -> tuple[RubricContent, ...]:
    """Sets with as many criteria as `like`, and as many statements in each, drawn from the pool without repetition.

    Raises `ValueError` when `like` has more statements than the pool.
    """
    rng = np.random.default_rng(seed)
    return tuple(_drawn(like, rng) for _ in range(num_sets))


def _drawn(like: RubricContent, rng: np.random.Generator) -> RubricContent:
    num_statements = sum(_num_statements(criterion) for criterion in like.criteria)
    drawn = iter(rng.choice(POOL, size=num_statements, replace=False).tolist())
    return like.model_copy(update={"criteria": tuple(_criteria(like, drawn)), "guide": ()})


def _criteria(like: RubricContent, statements: Iterator[str]) -> Iterator[Criterion]:
    for number, criterion in enumerate(like.criteria, 1):
        tips = tuple(next(statements) for _ in range(_num_statements(criterion)))
        yield Criterion(id=f"r{number}", theme=f"Quality {number}", tips=tips, weight=criterion.weight)


def _num_statements(criterion: Criterion) -> int:
    """Its tips; a theme without any is a statement itself."""
    return max(1, len(criterion.tips))
