"""Columns of numbers, one entry for each pair: what the statistics work on."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Numbers: TypeAlias = NDArray[np.floating[Any]]
"""[N] margins, scores, shares; NaN where a pair has none."""

Verdicts: TypeAlias = NDArray[np.integer[Any]]
"""[N] 1 = the first image is better, −1 = the second, 0 = a tie; of a judge, or of people."""

Flags: TypeAlias = NDArray[np.bool_]
"""[N] which pairs."""
