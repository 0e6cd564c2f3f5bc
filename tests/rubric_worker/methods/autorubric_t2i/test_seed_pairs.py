"""Which pairs the first criteria are written for."""

import numpy as np

from services.rubric_worker.methods.autorubric_t2i.seed_pairs import greedy_seeds, prompt_clusters
from services.rubric_worker.methods.embeddings import TfidfEmbedder
from shared_schemas.rubrics import Language

MARGINS = np.array([5.0, 4.0, 3.0, -1.0, np.nan, 1.0])
CLUSTERS = [0, 0, 0, 1, 2, 2]


def test_without_diversity_the_clearest_pairs_are_seeds() -> None:
    assert greedy_seeds(MARGINS, CLUSTERS, num_seeds=3, diversity=0.0) == [0, 1, 2]


def test_with_nothing_but_diversity_every_kind_of_prompt_is_there_first() -> None:
    assert sorted(CLUSTERS[place] for place in greedy_seeds(MARGINS, CLUSTERS, num_seeds=3, diversity=1.0)) == [0, 1, 2]


def test_a_pair_whose_margin_is_not_known_is_no_seed() -> None:
    assert sorted(greedy_seeds(MARGINS, CLUSTERS, num_seeds=10, diversity=0.5)) == [0, 1, 2, 3, 5]


def test_only_the_order_of_margins_counts() -> None:
    chosen = greedy_seeds(MARGINS, CLUSTERS, num_seeds=4, diversity=0.5)
    assert greedy_seeds(np.exp(MARGINS), CLUSTERS, num_seeds=4, diversity=0.5) == chosen


async def test_prompts_about_the_same_are_of_one_kind() -> None:
    prompts = ["a red circle", "two red circles", "a mountain lake at dawn", "a lake in the mountains", "a red circle"]
    kinds = await prompt_clusters(prompts, num_clusters=2, embedder=TfidfEmbedder(Language.EN), seed=0)
    assert kinds[0] == kinds[1] == kinds[4] != kinds[2] == kinds[3]


async def test_fewer_prompts_than_kinds_are_no_trouble() -> None:
    kinds = await prompt_clusters(["same"] * 3, num_clusters=32, embedder=TfidfEmbedder(Language.EN), seed=0)
    assert kinds == (0, 0, 0)
