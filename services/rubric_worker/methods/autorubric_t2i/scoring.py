"""How well images meet criteria: every image is asked about every new criterion, once.

Owns what is asked and in which order: the criteria of one image together, so that a server reads the image once. The
one rule: an answer goes to disk when it comes; neither images nor answers pile up in memory.
"""

from collections.abc import Sequence

import numpy as np

from services.judging.answers import LabelAnswer
from services.judging.questions import ImageQuestion, JudgeFailure
from services.judging.verdicts import p_yes
from services.rubric_worker.evaluation.columns import Numbers
from services.rubric_worker.methods.autorubric_t2i.context import Context
from services.rubric_worker.methods.autorubric_t2i.preferences import Preference
from services.rubric_worker.methods.autorubric_t2i.score_store import ScoreStore
from services.rubric_worker.methods.labels import LoneImage
from services.rubric_worker.methods.statements import rubric_of
from shared_schemas.rubrics import MAX_CRITERIA, Criterion


class Scoring:
    """The images of some pairs, and their scores."""

    def __init__(self, preferences: Sequence[Preference], context: Context, *, name: str) -> None:
        """`name` tells its files from others'."""
        self._context = context
        self._images = tuple(dict.fromkeys(image for preference in preferences for image in preference.images))
        places = {image: place for place, image in enumerate(self._images)}
        ranked = [preference.ranked for preference in preferences]
        self._better = np.array([places[better] for better, _ in ranked], dtype=np.intp)
        self._worse = np.array([places[worse] for _, worse in ranked], dtype=np.intp)
        folder = context.folder / name
        folder.mkdir(parents=True)
        self._store = ScoreStore(folder, num_images=len(self._images))

    async def add(self, criteria: Sequence[Criterion], *, stage: str) -> None:
        """Ask about those criteria that have not been asked about. Raises `JobFailedError`."""
        new = [criterion for criterion in criteria if not self._store.knows(criterion.id)]
        parts = [new[start : start + MAX_CRITERIA] for start in range(0, len(new), MAX_CRITERIA)]
        files = [self._store.open([criterion.id for criterion in part]) for part in parts]

        async def ask(item: tuple[int, int]) -> bool | JudgeFailure:
            image, part = item
            row = await self._row(self._images[image], parts[part])
            if isinstance(row, JudgeFailure):
                return row
            files[part][image] = row
            return True

        questions = [(image, part) for image in range(len(self._images)) for part in range(len(parts))]
        await self._context.stage(stage, questions, ask, budget=self._context.budget(len(questions), "images"))

    def differences(self, criteria: Sequence[str]) -> Numbers:
        """[pairs, criteria] score of the preferred image minus that of the other; NaN where one is missing."""
        scores = self._store.scores(criteria)
        differences: Numbers = scores[self._better] - scores[self._worse]
        return differences

    def of_pairs(self, criteria: Sequence[str]) -> tuple[Numbers, Numbers]:
        """[pairs, criteria] twice: scores of the preferred images, and of the others."""
        scores = self._store.scores(criteria)
        return scores[self._better], scores[self._worse]

    async def _row(self, shown: LoneImage, criteria: Sequence[Criterion]) -> Numbers | JudgeFailure:
        """[criteria] p(yes), NaN for those without an answer; a failure when no criterion has one."""
        pictures = self._context.pictures
        question = ImageQuestion(
            prompt=shown.prompt,
            image=await pictures.get(shown.image),
            source=None if shown.source is None else await pictures.get(shown.source),
            rubric=rubric_of(criteria, about=self._context.about),
        )
        [answer] = await self._context.desk.rate([question])
        known = {one.question: p_yes(one.answer) for one in answer.asked if isinstance(one.answer, LabelAnswer)}
        if isinstance(answer, JudgeFailure) and not known:
            return answer
        return np.array([known.get(criterion.id, np.nan) for criterion in criteria])
