"""Which texts are single tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.judging.pixel_judge.tokens import token_id, tokenize


def test_characters_are_tokens_by_their_code_point() -> None:
    assert tokenize("1 é\n") == [0x31, 0x20, 0xE9, 0x0A]


@pytest.mark.parametrize("word", ["yes", "no", "Yes", "No"])
def test_answers_are_single_tokens_with_and_without_a_blank(word: str) -> None:
    [bare], [after_blank] = tokenize(word), tokenize(f" {word}")
    assert bare != after_blank
    assert {bare, after_blank} == {token_id(word), token_id(f" {word}")}


def test_words_inside_words_are_letters() -> None:
    assert tokenize("note") == [ord(letter) for letter in "note"]
    assert tokenize("(no)") == [ord("("), token_id("no"), ord(")")]


@given(st.text())
def test_no_word_has_the_id_of_a_character(text: str) -> None:
    assert all(token <= 0x10FFFF or token >= 0x110000 for token in tokenize(text))
    assert len(tokenize(text)) <= len(text)
