"""Tokens of the pixel judge: one per character, but for the words it answers with.

The one rule: every token it can answer has an id of its own, so that it can be asked for by id.
"""

import re

OTHER_TOKEN = "The"
"""What the rest of the probability, beside the labels, would say."""

_WORDS = ("yes", "no", "Yes", "No", " yes", " no", " Yes", " No", OTHER_TOKEN)
_FIRST_WORD_ID = 0x110000
"""The first number that is no character's code point."""

_WORD_IDS = {word: _FIRST_WORD_ID + index for index, word in enumerate(_WORDS)}
_TOKEN = re.compile(rf"(?<!\w)({'|'.join(sorted(_WORDS))})(?!\w)|.", re.DOTALL)


def tokenize(text: str) -> list[int]:
    """Ids of the tokens of `text`; a word inside another one ("notes") is not a word."""
    return [token_id(match.group()) for match in _TOKEN.finditer(text)]


def token_id(token: str) -> int:
    """The id of one token: a known word, or a single character, whose id is its code point."""
    return _WORD_IDS.get(token) or ord(token)
