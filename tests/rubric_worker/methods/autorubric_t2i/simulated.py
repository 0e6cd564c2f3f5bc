"""A simulated judge: p(yes) of every image from latent features, a few of which people decide by."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUM_TRUE = 10
LATENT = 1.5
"""Standard deviation of a feature, as log-odds of yes."""


@dataclass(frozen=True)
class Simulated:
    """Labelled pairs."""

    differences: NDArray[np.floating[Any]]
    """[n, p] score of the preferred image minus that of the other, as the judge sees it."""
    oracle: NDArray[np.floating[Any]]
    """[n] by how much the true features prefer the image that people prefer."""

    @property
    def prompts(self) -> list[str]:
        """One for each pair."""
        return [str(number) for number in range(len(self.differences))]


def true_weights(seed: int, *, num_candidates: int = 200) -> NDArray[np.floating[Any]]:
    """[p] 3 to 5 for the first `NUM_TRUE`, 0 for the distractors."""
    weights = np.zeros(num_candidates)
    weights[:NUM_TRUE] = np.random.default_rng([seed, 1]).uniform(3, 5, NUM_TRUE)
    return weights


def simulate(
    num_pairs: int, weights: NDArray[np.floating[Any]], *, seed: int, judge_noise: float = 0.0, label_noise: float = 0.5
) -> Simulated:
    """Pairs of independent images; `judge_noise` is added to every feature that the judge looks at."""
    rng = np.random.default_rng([seed, 2])
    latent = rng.normal(0, LATENT, (2, num_pairs, len(weights)))
    truth = _p_yes(latent[0]) - _p_yes(latent[1])
    margins = truth @ weights
    signs = np.where(margins + rng.logistic(0, label_noise, num_pairs) > 0, 1.0, -1.0)
    seen = _p_yes(latent + judge_noise * rng.normal(size=latent.shape))
    return Simulated(differences=(seen[0] - seen[1]) * signs[:, None], oracle=margins * signs)


def _p_yes(log_odds: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    probability: NDArray[np.floating[Any]] = 1 / (1 + np.exp(-log_odds))
    return probability
