"""Which pairs the first criteria are written for: those that say something clearly, about many kinds of prompts.

After FiFA, as the paper does: a proxy of people's preference tells how far apart the images of a pair are, and clusters
of prompts how new it is. Our proxy is the judge without rubrics, by the margin it gives the image that people prefer.

The one rule: with no more pairs than seeds are wanted, all of them are seeds, and nobody is asked.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence

import numpy as np
from sklearn.cluster import KMeans

from services.judging.questions import JudgeFailure
from services.rubric_worker.evaluation.columns import Numbers
from services.rubric_worker.methods.autorubric_t2i.context import Context
from services.rubric_worker.methods.autorubric_t2i.preferences import Preference
from services.rubric_worker.methods.embeddings import Matrix, TfidfEmbedder
from shared_schemas.rubrics import RubricContent


async def choose_seeds(pool: Sequence[Preference], context: Context) -> tuple[Preference, ...]:
    """The seeds, in the order of the pool. Raises `JobFailedError`."""
    options = context.options
    if len(pool) <= options.seed_pairs:
        return tuple(pool)
    margins = await _proxy_margins(pool, context)
    clusters = await prompt_clusters(
        [preference.pair.prompt for preference in pool],
        num_clusters=options.prompt_clusters,
        embedder=TfidfEmbedder(context.about.language),
        seed=context.job.call_seed("seeds", "clusters"),
    )
    chosen = greedy_seeds(margins, clusters, num_seeds=options.seed_pairs, diversity=options.seed_diversity)
    return tuple(pool[place] for place in sorted(chosen))


async def prompt_clusters(
    prompts: Sequence[str], *, num_clusters: int, embedder: TfidfEmbedder, seed: int
) -> tuple[int, ...]:
    """The kind of each prompt, by k-means on the words of all; equal prompts are of one kind."""
    different = sorted(set(prompts))
    vectors = await embedder.embed(different)
    kinds = await asyncio.to_thread(_k_means, vectors, num_clusters=num_clusters, seed=seed)
    kind_of = dict(zip(different, kinds, strict=True))
    return tuple(kind_of[prompt] for prompt in prompts)


def greedy_seeds(margins: Numbers, clusters: Sequence[int], *, num_seeds: int, diversity: float) -> list[int]:
    """Places of the seeds in the order in which they are chosen; `margins` [n], NaN = not known, is never chosen.

    Of every pair the rank of its margin (0 to 1) counts by 1 − `diversity`, and 1 / (1 + seeds that its cluster has) by
    `diversity`. Ranks, because margins have no scale that all judges share.
    """
    known = np.flatnonzero(~np.isnan(margins))
    order = known[np.argsort(margins[known], kind="stable")]
    rank = dict(zip(order.tolist(), np.linspace(0, 1, len(order)).tolist(), strict=True))
    num_of: Counter[int] = Counter()
    chosen: list[int] = []
    while rank and len(chosen) < num_seeds:
        best = max(
            rank,
            key=lambda place: (
                (1 - diversity) * rank[place] + diversity / (1 + num_of[clusters[place]]),
                -place,
            ),
        )
        del rank[best]
        num_of[clusters[best]] += 1
        chosen.append(best)
    return chosen


async def _proxy_margins(pool: Sequence[Preference], context: Context) -> Numbers:
    """[n] nats by which the judge without rubrics prefers the image that people prefer; NaN where it failed."""
    none = RubricContent(task=context.about.task, language=context.about.language)

    async def one(preference: Preference) -> float | JudgeFailure:
        opinion = await context.opinions.of(preference.pair, none)
        return opinion if isinstance(opinion, JudgeFailure) else preference.sign * opinion.lead

    leads = await context.stage("margins", pool, one)
    return np.array([np.nan if lead is None else lead for lead in leads])


def _k_means(vectors: Matrix, *, num_clusters: int, seed: int) -> list[int]:
    num_different = len(np.unique(vectors, axis=0))
    model = KMeans(n_clusters=min(num_clusters, num_different), n_init=4, random_state=seed)
    kinds: list[int] = model.fit_predict(vectors).tolist()
    return kinds
