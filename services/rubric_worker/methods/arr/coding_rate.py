"""Coding rate: how much room vectors take up, in nats; a new one adds little where others already are.

    R(X) = ½ log det(I + d/(n ε²) X Xᵀ)       (Yu et al. 2020, MCR², equation 2)

for k chosen rows of unit length X [k, d] out of n candidates; n is that of all candidates and fixed, so that R only
grows. With α = d/(n ε²) and A = I + α XᵀX, one more row x adds, by the matrix determinant lemma,

    R(X with x) − R(X) = ½ log(1 + α xᵀ A⁻¹ x),       and A⁻¹ follows by Sherman and Morrison.
"""

import numpy as np

from services.rubric_worker.methods.embeddings import Matrix

EPSILON = 0.1
"""Distortion ε: differences within it do not count. The value that the reference's authors use."""


def coding_rate(rows: Matrix, *, num_candidates: int) -> float:
    """R of `rows` [k, d] of unit length, nats; 0 for none."""
    if len(rows) == 0:
        return 0.0
    scale = _scale(rows.shape[1], num_candidates)
    _, log_determinant = np.linalg.slogdet(np.eye(len(rows)) + scale * (rows @ rows.T))
    return float(log_determinant) / 2


class CodingRate:
    """R of a growing choice, one row at a time, without a determinant."""

    def __init__(self, num_dimensions: int, *, num_candidates: int) -> None:
        self._scale = _scale(num_dimensions, num_candidates)
        self._inverse: Matrix = np.eye(num_dimensions)  # A⁻¹

    def gains(self, rows: Matrix) -> Matrix:
        """[k] what each of `rows` [k, d] alone would add, nats."""
        spread = np.einsum("kd,de,ke->k", rows, self._inverse, rows)
        gains: Matrix = np.log1p(self._scale * np.maximum(spread, 0.0)) / 2
        return gains

    def add(self, row: Matrix) -> None:
        """Choose one row [d]."""
        along = self._inverse @ row
        self._inverse = self._inverse - self._scale * np.outer(along, along) / (1 + self._scale * (row @ along))


def _scale(num_dimensions: int, num_candidates: int) -> float:
    return num_dimensions / (num_candidates * EPSILON**2)
