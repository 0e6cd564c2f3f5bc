"""What stability selection would keep, with weights of its own: reported beside the Top-N, and never published."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.rubric_worker.evaluation.columns import Numbers
from services.rubric_worker.methods.autorubric_t2i.cross_validation import grid
from services.rubric_worker.methods.autorubric_t2i.regularisation_path import weigh
from services.rubric_worker.methods.autorubric_t2i.selection import Block, clusters_of, largest, spread
from services.rubric_worker.methods.autorubric_t2i.stability import selected_shares
from shared_schemas.autorubric import AutoRubricParameters


@dataclass(frozen=True, kw_only=True, slots=True)
class StableSet:
    """Criteria are known by their places among all p candidates."""

    shares: Numbers
    """[p] how often each was selected in random halves."""
    weights: Numbers
    """[p] fitted to the stable criteria alone, at the strength that left-out pairs like best; 0 for others."""
    places: tuple[int, ...]
    """The stable ones with a positive weight, most often selected first."""


def stable_set(
    differences: Numbers, clusters: Sequence[str], block: Block, options: AutoRubricParameters, *, seed: int
) -> StableSet:
    """Stability selection on the block of `differences` [n, p]. Raises `UnsolvedError`."""
    whole, prompts = differences[np.ix_(block.rows, block.columns)], clusters_of(block, clusters)
    of_columns = selected_shares(
        whole,
        prompts,
        grid=grid(options.c_lowest, options.c_highest, options.c_steps),
        num_draws=options.stability_draws,
        mean_size=options.stability_size,
        seed=seed,
    )
    shares = spread(of_columns, block.columns)
    is_stable = shares >= options.stability_share
    weights = np.zeros(len(shares))
    if is_stable.any():
        best = options.model_copy(update={"one_standard_error": False})
        weights[is_stable] = weigh(differences[np.ix_(block.rows, is_stable)], prompts, best, seed=seed).chosen
    return StableSet(
        shares=shares,
        weights=weights,
        places=largest(np.where(weights > 0, shares, 0.0)),
    )
