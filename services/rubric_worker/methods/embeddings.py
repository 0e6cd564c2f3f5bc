"""Statements as vectors: what says the same lies close together.

Owns the seam (`Embedder`), the embedder that needs nothing, and the reduction to a few dimensions. The one rule: equal
statements in equal order give equal vectors, so the embedder is part of what a seed fixes.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import FeatureUnion

from shared_schemas.rubrics import Language

Matrix: TypeAlias = NDArray[np.floating[Any]]

SAME_COSINE = 0.9
"""Statements whose vectors are at least so close say the same."""

MAX_DIMENSIONS = 64
"""More would only be noise, and the coding rate's scale grows with them."""

_NEGLIGIBLE = 1e-12
"""Squared singular values below this share of the largest are rounding."""

_MAX_FEATURES = 4096
"""Words, and as many n-grams of characters: the most frequent ones."""


class Embedder(Protocol):
    """Makes vectors of statements."""

    async def embed(self, statements: Sequence[str]) -> Matrix:
        """[n, d] one row of unit length per statement, at least one. Raises `JobFailedError` when it cannot."""
        ...


class TfidfEmbedder:
    """Words, pairs of words and character n-grams, weighted by how rare they are among these statements."""

    def __init__(self, language: Language) -> None:
        """Chinese has no blanks between words: there, characters alone are counted."""
        self._language = language

    async def embed(self, statements: Sequence[str]) -> Matrix:
        """Computed in a thread."""
        return await asyncio.to_thread(self._embed, statements)

    def _embed(self, statements: Sequence[str]) -> Matrix:
        vectors: Matrix = self._vectorizer().fit_transform(statements).toarray()
        return unit_rows(vectors)

    def _vectorizer(self) -> TfidfVectorizer | FeatureUnion:
        if self._language is Language.ZH:
            return TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True, max_features=_MAX_FEATURES)
        words = TfidfVectorizer(token_pattern=r"\w+", ngram_range=(1, 2), sublinear_tf=True, max_features=_MAX_FEATURES)
        characters = TfidfVectorizer(
            analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, max_features=_MAX_FEATURES
        )
        return FeatureUnion([("words", words), ("characters", characters)])


def reduced(vectors: Matrix, *, max_dimensions: int = MAX_DIMENSIONS) -> Matrix:
    """[n, r] rows of unit length in their r ≤ `max_dimensions` principal directions, not centred (truncated SVD).

    By the eigenvectors of the n × n inner products: statements are few, and n-grams are many.
    """
    values, directions = np.linalg.eigh(vectors @ vectors.T)  # ascending
    num_kept = min(max_dimensions, int(np.sum(values > _NEGLIGIBLE * values[-1])))
    largest = slice(-1, -num_kept - 1, -1)
    return unit_rows(directions[:, largest] * np.sqrt(values[largest]))


def unit_rows(vectors: Matrix) -> Matrix:
    """Each row divided by its length; rows of zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    rows: Matrix = vectors / np.where(lengths > 0, lengths, 1.0)
    return rows
