"""Exemplars: labelled pairs that the judge is shown with the criteria ("ARR with guide").

Owns which rows are set aside for them and which of these are taken. The one rule: a row that is set aside is used for
nothing else.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from services.judging import writing
from services.judging.questions import JudgeFailure
from services.judging.writing import LabelledImages, Rationale
from services.rubric_worker.labelled_pairs import ImagePair
from services.rubric_worker.methods.arr.context import Context
from services.rubric_worker.methods.labels import Known, LearningRow, Sign, known_pairs
from services.rubric_worker.methods.lint import names_a_place, tidied
from services.rubric_worker.methods.opinions import Opinion
from shared_schemas.rubrics import MAX_EXEMPLAR_PROMPT_CHARS, MAX_RATIONALE_CHARS, Exemplar, RubricContent

ROWS_PER_EXEMPLAR = 3
"""Rows to choose one exemplar from."""

ROWS_PER_ROW_SET_ASIDE = 4
"""At most one training row in so many is set aside."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pair:
    """A pair with its images by what people said."""

    prompt: str
    better: str
    worse: str
    source: str | None

    @classmethod
    def of(cls, pair: ImagePair, sign: Sign) -> Self:
        better, worse = (pair.first, pair.second) if sign == 1 else (pair.second, pair.first)
        return cls(prompt=pair.prompt, better=better, worse=worse, source=pair.source)


def set_aside(
    rows: Sequence[LearningRow], *, num_exemplars: int, draw: Callable[[str], int]
) -> tuple[tuple[LearningRow, ...], tuple[LearningRow, ...]]:
    """The rows to learn from, and those to choose exemplars from; rows of one prompt stay together.

    `draw` gives a prompt its place in the line.
    """
    wanted = min(num_exemplars * ROWS_PER_EXEMPLAR, len(rows) // ROWS_PER_ROW_SET_ASIDE)
    num_rows = Counter(row.prompt for row in rows)
    taken: set[str] = set()
    for prompt in sorted(num_rows, key=lambda prompt: (draw(prompt), prompt)) if wanted else ():
        if sum(num_rows[other] for other in taken) + num_rows[prompt] <= wanted:
            taken.add(prompt)
    return tuple(row for row in rows if row.prompt not in taken), tuple(row for row in rows if row.prompt in taken)


async def with_guide(content: RubricContent, rows: Sequence[LearningRow], context: Context) -> RubricContent:
    """The set with exemplars from `rows`: pairs it judges rightly and clearly, one of each prompt, each explained.

    Raises `JobFailedError` when a server stays away or too many questions fail.
    """
    if not context.options.exemplars:
        return content
    shown = await _clearest(content, rows, context)

    async def one(pair: _Pair) -> Exemplar | JudgeFailure | None:
        return await _explained(pair, content, context)

    exemplars = await context.stage("explain exemplars", shown, one)
    return content.model_copy(update={"guide": tuple(exemplar for exemplar in exemplars if exemplar is not None)})


async def _clearest(content: RubricContent, rows: Sequence[LearningRow], context: Context) -> list[_Pair]:
    """Pairs that are judged rightly, with the greatest margin first, of each prompt one."""
    known = known_pairs(rows)

    async def one(pair: Known) -> Opinion | JudgeFailure:
        return await context.opinions.of(pair.shown, content)

    judged = zip(known, await context.stage("choose exemplars", known, one), strict=True)
    right = [(opinion, pair) for pair, opinion in judged if opinion is not None and opinion.preferred == pair.sign]
    of_prompt: dict[str, _Pair] = {}
    for _, pair in sorted(right, key=lambda judged: -abs(judged[0].lead)):
        if isinstance(pair.shown, ImagePair) and len(pair.shown.prompt) <= MAX_EXEMPLAR_PROMPT_CHARS:
            of_prompt.setdefault(pair.shown.prompt, _Pair.of(pair.shown, pair.sign))
    return list(of_prompt.values())[: context.options.exemplars]


async def _explained(pair: _Pair, content: RubricContent, context: Context) -> Exemplar | JudgeFailure | None:
    """None for a reason that says nothing, or would draw the judge to a place."""
    labelled = LabelledImages(
        prompt=pair.prompt,
        images=(await context.pictures.get(pair.better), await context.pictures.get(pair.worse)),
        source=None if pair.source is None else await context.pictures.get(pair.source),
        places=(1, 2),
        scores=None,
    )
    messages = writing.explain(labelled, about=context.about, rubric=content)
    answer = await context.write(messages, schema=Rationale, stage="explain", item=f"{pair.better} {pair.worse}")
    if isinstance(answer, JudgeFailure):
        return answer
    rationale = tidied(answer.rationale)[:MAX_RATIONALE_CHARS]
    if not rationale or names_a_place(rationale):
        return None
    return Exemplar(
        prompt=pair.prompt,
        preferred=pair.better,
        dispreferred=pair.worse,
        source=pair.source,
        rationale=rationale,
    )
