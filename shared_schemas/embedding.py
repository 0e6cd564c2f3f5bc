"""How criteria are compared: the one choice that the methods of learning share."""

from enum import StrEnum


class Embedding(StrEnum):
    """How criteria are compared when a few of many are selected."""

    TFIDF = "tfidf"
    """Words and character n-grams, computed here: no model, no download."""
    ENDPOINT = "endpoint"
    """`/embeddings` of the chat model's server, or of the one that the settings name."""
