"""Whatever a judge sends, reading it ends in a sound answer or in a typed failure."""

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.judging.answers import Answer, ChoiceAnswer, LabelAnswer
from services.judging.chat_json import choice_answer, choice_schema, read_json
from services.judging.failures import BackendError
from services.judging.label_logprobs import LabelTokens, read_labels, spellings
from services.judging.prompts import PAIR_LABELS, YES_NO_LABELS, Labels
from shared_schemas.problems import FailureType

TOKENS = LabelTokens(first=(16, 352), second=(17, 362))

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["message", "logprobs"]), inner),
    max_leaves=10,
)
LIKELY_TOKENS = ("1", "2", " 1", "token_id:16", "token_id:17")
FIELDS = ("choices", "message", "content", "refusal", "finish_reason", "logprobs", "token", "logprob", "top_logprobs")


UNUSABLE = {FailureType.JUDGE_MALFORMED, FailureType.JUDGE_OFF_TOPIC, FailureType.JUDGE_REFUSED}


def completion(**choice: Any) -> bytes:
    return json.dumps({"choices": [{"message": {"role": "assistant"}, "finish_reason": "stop", **choice}]}).encode()


def positioned(*entries: tuple[str, float]) -> bytes:
    top = [{"token": token, "logprob": value} for token, value in entries]
    return completion(logprobs={"content": [top[0] | {"top_logprobs": top}]})


def read_choice(body: bytes, labels: Labels) -> ChoiceAnswer:
    return choice_answer(read_json(body, schema=choice_schema(labels)), labels=labels)


def outcome(read: Callable[[], Answer]) -> Answer | FailureType:
    """What comes of reading: an answer, or the type of its failure."""
    try:
        return read()
    except BackendError as error:
        return error.type


def test_every_spelling_of_a_word_counts_and_no_other() -> None:
    assert spellings("yes") == ("yes", "Yes", "YES")
    assert spellings("1") == ("1",)
    body = positioned(("Yes", -1.0), ("ĠYES", -2.0), ("▁no", -1.5), ("yES", -0.1), ("now", -0.2))
    answer = read_labels(body, labels=YES_NO_LABELS, tokens=None)
    assert answer.log_p_first == pytest.approx(math.log(math.exp(-1) + math.exp(-2)))
    assert answer.log_p_second == pytest.approx(-1.5)
    assert answer.label_mass == pytest.approx(math.exp(-1) + math.exp(-2) + math.exp(-1.5))


def test_a_label_beyond_the_top_is_censored_at_the_smallest_value_and_adds_no_mass() -> None:
    answer = read_labels(positioned(("1", -0.1), ("A", -5.0), ("B", -7.0)), labels=PAIR_LABELS, tokens=None)
    assert answer.log_odds == pytest.approx(6.9)
    assert answer.label_mass == pytest.approx(math.exp(-0.1))


def test_a_label_that_was_asked_for_by_id_is_never_censored() -> None:
    with pytest.raises(BackendError, match="lacks the log-probabilities of the labels"):
        read_labels(positioned(("token_id:16", -0.1), ("token_id:5", -5.0)), labels=PAIR_LABELS, tokens=TOKENS)


def test_tokens_are_usable_when_each_label_has_its_own() -> None:
    assert TOKENS.are_usable
    assert not LabelTokens(first=(1,), second=()).are_usable
    assert not LabelTokens(first=(1, 2), second=(3, 1)).are_usable


@given(
    st.lists(
        st.tuples(st.text() | st.sampled_from(["1", "2", " 1", "token_id:16", "token_id:17"]), st.floats()), min_size=1
    )
)
@pytest.mark.parametrize("tokens", [TOKENS, None])
def test_log_probs_are_read_into_finite_numbers_or_refused(
    tokens: LabelTokens | None, entries: list[tuple[str, float]]
) -> None:
    answer = outcome(lambda: read_labels(positioned(*entries), labels=PAIR_LABELS, tokens=tokens))
    if isinstance(answer, LabelAnswer):
        assert math.isfinite(answer.log_odds)
        assert 0 <= answer.label_mass <= 1
    else:
        assert answer in {FailureType.JUDGE_MALFORMED, FailureType.JUDGE_OFF_TOPIC}


@given(st.text() | JSON.map(json.dumps))
def test_text_is_a_choice_only_when_it_is_exactly_that(text: str) -> None:
    body = completion(message={"role": "assistant", "content": text})
    with pytest.raises(BackendError) as caught:
        read_choice(body, PAIR_LABELS)
    assert caught.value.type is FailureType.JUDGE_MALFORMED


@pytest.mark.parametrize("labels", [PAIR_LABELS, YES_NO_LABELS])
@pytest.mark.parametrize("layout", [json.dumps, lambda said: f" \n{json.dumps(said, indent=2)}\n"])
def test_a_choice_is_the_label_that_was_written(labels: Labels, layout: Any) -> None:
    for label, chose_first in zip(labels, (True, False), strict=True):
        body = completion(message={"role": "assistant", "content": layout({"answer": label})})
        assert read_choice(body, labels).chose_first is chose_first


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_bytes_that_are_no_completion_are_malformed(body: bytes) -> None:
    assert outcome(lambda: read_labels(body, labels=PAIR_LABELS, tokens=None)) is FailureType.JUDGE_MALFORMED
    assert outcome(lambda: read_choice(body, PAIR_LABELS)) is FailureType.JUDGE_MALFORMED


@given(st.sampled_from(FIELDS), JSON)
def test_a_good_answer_with_one_field_spoilt_stays_sound_or_fails_by_type(field: str, value: Any) -> None:
    def spoil(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: value if key == field else spoil(inner) for key, inner in node.items()}
        return [spoil(inner) for inner in node] if isinstance(node, list) else node

    top = [{"token": "1", "logprob": -0.3}, {"token": "2", "logprob": -2.0}]
    message = {"role": "assistant", "content": '{"answer": "1"}', "refusal": None}
    choice = {"message": message, "finish_reason": "stop", "logprobs": {"content": [top[0] | {"top_logprobs": top}]}}
    body = json.dumps(spoil({"choices": [choice]})).encode()
    by_log_probs = outcome(lambda: read_labels(body, labels=PAIR_LABELS, tokens=None))
    if isinstance(by_log_probs, LabelAnswer):
        assert math.isfinite(by_log_probs.log_odds)
    else:
        assert by_log_probs in UNUSABLE
    by_choice = outcome(lambda: read_choice(body, PAIR_LABELS))
    assert by_choice in UNUSABLE or by_choice == ChoiceAnswer(chose_first=True, prompt_tokens=0, completion_tokens=0)
