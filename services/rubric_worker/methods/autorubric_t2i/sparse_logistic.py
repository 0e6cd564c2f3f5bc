"""ℓ1-regularised logistic regression of what people prefer on differences of scores.

For D [n, p] with D_ij = s_j(preferred image of pair i) − s_j(the other), the weights w minimise

    Σ_j |w_j|  +  C · Σ_i log(1 + exp(−D_i · w))

There is no intercept: swapping the images of a pair must turn its sign and change nothing else. The solver wants two
classes, so half of the rows are turned round together with their labels, which leaves the sum as it is.

The one rule: a fit is solved, or it raises. scikit-learn's default tolerance leaves weights 0.02 off.
"""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from services.rubric_worker.evaluation.columns import Numbers
from services.rubric_worker.evaluation.confidence import sigmoid

MIN_ROWS = 2
"""One of each class."""

_TOLERANCE = 1e-8
_MAX_ITERATIONS = 1000

_MAX_VIOLATION = 1e-2
"""Of the optimality conditions, in units of the penalty's slope (1). At machine precision the solver's own criterion
can stay out of reach; what it leaves then is nearer to 1e-8."""


class UnsolvedError(ArithmeticError):
    """The solver did not find the weights."""


def fit(differences: Numbers, *, c: float, seed: int) -> Numbers:
    """[p] weights for `differences` [n, p], n ≥ `MIN_ROWS`, without NaN. Raises `UnsolvedError`."""
    num_rows = len(differences)
    signs = np.ones(num_rows)
    signs[np.random.default_rng(seed).permutation(num_rows)[: num_rows // 2]] = -1
    model = LogisticRegression(
        solver="liblinear",
        l1_ratio=1.0,
        C=c,
        fit_intercept=False,
        tol=_TOLERANCE,
        max_iter=_MAX_ITERATIONS,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(differences * signs[:, None], signs)
    weights: Numbers = model.coef_[0]
    if (violation := optimality_violation(differences, weights, c=c)) > _MAX_VIOLATION:
        raise UnsolvedError(f"the weights at C = {c:g} violate the optimality conditions by {violation:.2g}")
    return weights


def optimality_violation(differences: Numbers, weights: Numbers, *, c: float) -> float:
    """How far `weights` [p] are from the minimum: 0 there, and 1 where a slope is twice the penalty's.

    At the minimum the slope of the loss is the sign of a weight that is not 0, and within ±1 for one that is.
    """
    slope = c * (differences.T @ sigmoid(-differences @ weights))
    beside_zero = np.maximum(np.abs(slope) - 1, 0)
    return float(np.max(np.where(weights != 0, np.abs(slope - np.sign(weights)), beside_zero), initial=0.0))


def losses(differences: Numbers, weights: Numbers) -> Numbers:
    """[n] −log of the probability of what people prefer, nats."""
    loss: Numbers = np.logaddexp(0, -differences @ weights)
    return loss
