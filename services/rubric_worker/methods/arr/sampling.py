"""Many rows, few of them asked about: batches until nothing new is learned.

Owns when a run of the rounds has seen enough. The one rule: batches are drawn by seed before the first is begun.
"""

from collections.abc import Iterator, Sequence

from services.rubric_worker.methods.arr.attempts import Attempt
from services.rubric_worker.methods.arr.candidates import collect
from services.rubric_worker.methods.arr.context import Context
from services.rubric_worker.methods.arr.rounds import run_rounds
from services.rubric_worker.methods.arr.selection import relative_growth
from services.rubric_worker.methods.embeddings import Embedder
from services.rubric_worker.methods.labels import LearningRow


async def learn_from(rows: Sequence[LearningRow], context: Context, embedder: Embedder) -> tuple[Attempt, ...]:
    """What becomes of the rows, of all of them up to `sample_above`, else of as many batches as say something new.

    Raises like `run_rounds`, and what the embedder raises.
    """
    options = context.options
    if len(rows) <= options.sample_above:
        return await run_rounds(rows, rows, context)
    attempts: list[Attempt] = []
    statements: list[list[str]] = []
    for batch in _batches(rows, context):
        attempts += await run_rounds(batch, rows, context)
        statements.append([candidate.criterion.statement for candidate in collect(attempts)])
        if len(statements) > 1 and statements[0]:
            growth = await relative_growth(statements[0], statements[-2], statements[-1], embedder)
            if growth < options.min_relative_gain:
                break
    return tuple(attempts)


def _batches(rows: Sequence[LearningRow], context: Context) -> Iterator[Sequence[LearningRow]]:
    shuffled = sorted(rows, key=lambda row: (context.job.call_seed("sample", row.key), row.key))
    size = context.options.batch_size
    return (shuffled[start : start + size] for start in range(0, len(shuffled), size))
