"""The answer as a `chat.completion`: one token with log-probabilities, a short JSON object, or a text.

Owns the shapes of the OpenAI API and which token is said; the opinion comes as log-odds.
"""

import json
import math
import time
from typing import Literal

from pydantic import BaseModel, ConfigDict

from services.judging.pixel_judge.parsing import ChatRequest
from services.judging.pixel_judge.tokens import OTHER_TOKEN, token_id, tokenize
from services.judging.prompts import Labels


class _Wire(BaseModel):
    model_config = ConfigDict(ser_json_inf_nan="constants")  # a broken answer may hold NaN, and not null for it


class TokenLogProb(_Wire):
    """One token that could stand here."""

    token: str
    logprob: float
    bytes: None = None


class Position(TokenLogProb):
    """The token that stands here, and the likeliest others."""

    top_logprobs: list[TokenLogProb]


class LogProbs(_Wire):
    """One entry per token said."""

    content: list[Position]


class Message(_Wire):
    """What was said."""

    role: Literal["assistant"] = "assistant"
    content: str


class Choice(_Wire):
    """The only answer."""

    index: int = 0
    message: Message
    logprobs: LogProbs | None
    finish_reason: Literal["length", "stop"]


class Usage(_Wire):
    """Tokens read and written; of the prompt, characters."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Completion(_Wire):
    """Body of the answer."""

    id: str = "chatcmpl-pixel-judge"
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


def write(chat: ChatRequest, text: str) -> Completion:
    """Answer with a text as it is."""
    return _completion(chat, Choice(message=Message(content=text), logprobs=None, finish_reason="stop"))


def complete(chat: ChatRequest, *, labels: Labels, log_odds: float, label_mass: float) -> Completion:
    """Answer with a label: one token, or JSON where the request asks for JSON (which has no log-probabilities).

    `log_odds` = log p(first label) − log p(second) in nats; `label_mass` is the probability of both together.
    """
    if chat.response_format.type == "text":
        log_probs = _log_probs(labels, log_odds=log_odds, label_mass=label_mass)
        said, position = _one_token(chat, log_probs)
        logprobs = LogProbs(content=[position]) if chat.logprobs else None
        return _completion(chat, Choice(message=Message(content=said), logprobs=logprobs, finish_reason="length"))
    return write(chat, _json_answer(chat, labels, index=0 if log_odds >= 0 else 1))


def _log_probs(labels: Labels, *, log_odds: float, label_mass: float) -> dict[str, float]:
    """Log-probs of both labels and, for what is left, one other token."""
    log_p_first = -math.log1p(math.exp(-log_odds)) if log_odds > 0 else log_odds - math.log1p(math.exp(log_odds))
    log_mass = math.log(label_mass)
    log_probs = {labels.first: log_mass + log_p_first, labels.second: log_mass + log_p_first - log_odds}
    if label_mass < 1:
        log_probs[OTHER_TOKEN] = math.log1p(-label_mass)
    return log_probs


def _one_token(chat: ChatRequest, log_probs: dict[str, float]) -> tuple[str, Position]:
    """The likeliest allowed token, and what is told about it; log-probs are those before any restriction."""
    by_likelihood = sorted(log_probs, key=lambda token: -log_probs[token])
    allowed = _restricted(by_likelihood, chat.allowed_token_ids)
    if chat.logprob_token_ids is None:
        listed = by_likelihood[: chat.top_logprobs]
    else:
        listed = _restricted(by_likelihood, chat.logprob_token_ids)
    said = allowed[0] if allowed else by_likelihood[0]

    def name(token: str) -> str:
        return f"token_id:{token_id(token)}" if chat.return_tokens_as_token_ids else token

    top = [TokenLogProb(token=name(token), logprob=log_probs[token]) for token in listed]
    return said, Position(token=name(said), logprob=log_probs[said], top_logprobs=top)


def _restricted(tokens: list[str], ids: list[int] | None) -> list[str]:
    return tokens if ids is None else [token for token in tokens if token_id(token) in ids]


def _json_answer(chat: ChatRequest, labels: Labels, *, index: int) -> str:
    """`{"answer": "yes"}`: the property and the value as the schema names them, by meaning or else by place.

    Before it stands what the schema wants written, as long as it must be: it takes its time and says nothing.
    """
    name, allowed = chat.response_format.choice
    label = labels[index]
    reasons = {reason: "." * num_chars for reason, num_chars in chat.response_format.reasons.items()}
    answer = label if label in allowed or len(allowed) != len(labels) else allowed[index]
    return json.dumps({**reasons, name: answer})


def _completion(chat: ChatRequest, choice: Choice) -> Completion:
    num_read, num_written = len(chat.text), len(tokenize(choice.message.content))
    usage = Usage(prompt_tokens=num_read, completion_tokens=num_written, total_tokens=num_read + num_written)
    return Completion(created=int(time.time()), model=chat.model, choices=[choice], usage=usage)
