"""The method as a sentence: from pairs with a preference to a sparse weighted set.

The one rule: equal pairs, options and seeds make an equal set, whatever was remembered and however often it was begun.
"""

import asyncio
from collections.abc import Sequence

from services.rubric_worker.job_kinds import JobFailedError
from services.rubric_worker.methods.autorubric_t2i.candidates import Candidates
from services.rubric_worker.methods.autorubric_t2i.context import Context
from services.rubric_worker.methods.autorubric_t2i.fitted import Fitted, sparse_selection
from services.rubric_worker.methods.autorubric_t2i.preferences import Preference, preferences
from services.rubric_worker.methods.autorubric_t2i.rounds import Course
from services.rubric_worker.methods.autorubric_t2i.seed_pairs import choose_seeds
from services.rubric_worker.methods.autorubric_t2i.selection import MIN_PAIRS
from services.rubric_worker.methods.autorubric_t2i.stable_set import StableSet, stable_set
from services.rubric_worker.methods.autorubric_t2i.write import write_from_seeds
from services.rubric_worker.methods.findings import Findings
from services.rubric_worker.methods.labels import LearningRow
from shared_schemas.learning import LearnFailure
from shared_schemas.rubrics import RubricContent


async def learn(
    train: Sequence[LearningRow], validation: Sequence[LearningRow], context: Context, findings: Findings
) -> RubricContent:
    """A weighted pointwise set from training rows; `validation` decides which round's it is. Writes down what it finds.

    Raises `JobFailedError`: `too-few-pairs`, `nothing-proposed`, `nothing-scored`, `nothing-selected`, or because a
    server stays away or too much fails.
    """
    options = context.options
    pool = by_lot(preferences(train), num=options.max_pool, context=context)
    if len(pool) < MIN_PAIRS:
        detail = f"{len(pool)} pairs with a preference fall to the training part, and {MIN_PAIRS} are the least"
        raise JobFailedError(LearnFailure.TOO_FEW_PAIRS, f"{detail} that weights can be fitted to; label more")
    seeds = await choose_seeds(pool, context)
    candidates = Candidates(context.embedder, max_candidates=options.max_candidates)
    await candidates.add(await write_from_seeds(seeds, context))
    if len(candidates) == 0:
        raise JobFailedError(
            LearnFailure.NOTHING_PROPOSED,
            f"no usable criterion was written for {len(seeds)} pairs: they name images by their place, compare, or say "
            "nothing; use a stronger model to write",
        )
    scored = _with_others(seeds, pool, context)
    checked = by_lot(preferences(validation), num=options.max_pool, context=context)
    course = Course(scored, checked, candidates, context, findings)
    best = await course.run()
    if options.stability:
        stable = await _stability(best, course, context)
        criteria = best.weighed(stable.places, stable.weights)
        stable_accuracy = await course.check(criteria, stage="stability: check") if criteria else None
        findings.sparse = sparse_selection(best, course.rounds, stable=stable, stable_accuracy=stable_accuracy)
    return best.content(context.about)


async def _stability(fitted: Fitted, course: Course, context: Context) -> StableSet:
    job = context.job
    job.stage("stability: fit", 1)
    found = await asyncio.to_thread(
        stable_set,
        fitted.differences,
        course.clusters,
        fitted.selection.block,
        context.options,
        seed=job.call_seed("fit", "halves"),
    )
    job.advance()
    return found


def by_lot(pairs: Sequence[Preference], *, num: int, context: Context) -> tuple[Preference, ...]:
    """At most `num` of the pairs, in their order; which of them is decided by the job's seed."""
    drawn = sorted(range(len(pairs)), key=lambda place: (context.job.call_seed("draw", pairs[place].key), place))[:num]
    return tuple(pairs[place] for place in sorted(drawn))


def _with_others(seeds: Sequence[Preference], pool: Sequence[Preference], context: Context) -> tuple[Preference, ...]:
    """The seeds, and others of the pool as far as there is room, in the order of the pool."""
    among = set(seeds)
    others = by_lot(
        [pair for pair in pool if pair not in among],
        num=max(0, context.options.scored_pairs - len(seeds)),
        context=context,
    )
    among.update(others)
    return tuple(pair for pair in pool if pair in among)
