"""The method as a sentence: from rows that say something to a rubric set.

The one rule: equal rows, options and seeds make an equal set, whatever was remembered and however often it was begun.
"""

from collections.abc import Sequence

from services.rubric_worker.job_kinds import JobFailedError
from services.rubric_worker.methods.arr.attempts import counts
from services.rubric_worker.methods.arr.candidates import collect
from services.rubric_worker.methods.arr.context import Context
from services.rubric_worker.methods.arr.guide import set_aside, with_guide
from services.rubric_worker.methods.arr.sampling import learn_from
from services.rubric_worker.methods.arr.selection import select
from services.rubric_worker.methods.arr.structure import structure
from services.rubric_worker.methods.embeddings import Embedder
from services.rubric_worker.methods.findings import Findings
from services.rubric_worker.methods.labels import Known, LearningRow
from shared_schemas.learning import LearnFailure, ProposalCounts
from shared_schemas.rubrics import RubricContent


async def learn(
    rows: Sequence[LearningRow], proof: Sequence[Known], context: Context, embedder: Embedder, findings: Findings
) -> RubricContent:
    """A rubric set from training rows; `proof` is what its themes are verified on. Writes down what it finds.

    Raises `JobFailedError` when nothing can be asked or verified, a server stays away, or too much fails.
    """
    options, job = context.options, context.job
    rows, for_guide = set_aside(
        rows, num_exemplars=options.exemplars, draw=lambda prompt: job.call_seed("set aside", prompt)
    )
    attempts = await learn_from(rows, context, embedder)
    findings.proposals = counts(attempts)
    candidates = collect(attempts)
    if not candidates:
        was_asked = any(attempt.was_asked for attempt in attempts)
        raise _nothing_verified(findings.proposals) if was_asked else _nothing_proposed(len(attempts))
    job.stage("select", 1)
    selection = await select(
        candidates,
        embedder,
        max_criteria=options.max_criteria,
        min_relative_gain=options.min_relative_gain,
        seed=job.call_seed("select", "lots"),
    )
    job.advance()
    findings.num_candidates, findings.num_selected = selection.num_candidates, len(selection.chosen)
    structured = await structure([candidate.criterion for candidate in selection.chosen], proof, context)
    findings.structured, findings.structure_problem = structured.is_grouped, structured.problem
    return await with_guide(structured.content, for_guide, context)


def _nothing_proposed(num_rows: int) -> JobFailedError:
    return JobFailedError(
        LearnFailure.NOTHING_PROPOSED,
        f"no usable criterion was written for {num_rows} rows: they name images by their place, compare, or say "
        "nothing; use a stronger model to write",
    )


def _nothing_verified(proposals: ProposalCounts) -> JobFailedError:
    return JobFailedError(
        LearnFailure.NOTHING_VERIFIED,
        f"none of the criteria of {proposals.proposed} rows made the judge agree with people, not even after revision; "
        "look at the labels, raise `max_revisions`, or use a stronger judge",
    )
