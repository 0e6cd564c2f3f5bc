"""Whatever a judge answers, on any rung: a typed failure that quotes nothing, never a number."""

import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from starlette.responses import Response

from services.judging.backend import BackendError, Capability, OpenAIBackend
from services.judging.probe_question import probe_question
from shared_schemas.problems import FailureType
from tests.judging.scripted_endpoint import BackendOf, Endpoint, Script, answering, completion

SOON = timedelta(seconds=20)

TWO_LABELS: list[Any] = [("1", -0.3), ("2", -2.0)]

UNREADABLE: dict[str, Any] = {
    "nothing": b"",
    "a page": b"<html>Bad gateway</html>",
    "half a document": b'{"choices": [{',
    "bytes that are no text": b"\x00\xff",
    "a lone surrogate": b'{"choices": [{"message": {"content": "\\ud800"}}]}',
    "brackets without end": b"[" * 100_000,
    "null": None,
    "a list": [],
    "an empty object": {},
    "an error under status 200": {"error": {"message": "no"}},
    "no choices": {"choices": []},
    "choices that are no list": {"choices": "1"},
    "a choice without a message": {"choices": [{"logprobs": None}]},
    "a message that is text": {"choices": [{"message": "1"}]},
    "a number for content": completion(content=1, top=TWO_LABELS),
    "a negative cost": completion(top=TWO_LABELS, content='{"answer": "1"}') | {"usage": {"prompt_tokens": -1}},
}

NO_LOG_PROBS: dict[str, Any] = {
    "no log-probs": completion(),
    "no position": completion(logprobs={"content": []}),
    "log-probs that are text": completion(logprobs="1"),
    "a position without a token": completion(logprobs={"content": [{"logprob": -1.0}]}),
    "not a number": completion(top=[("1", math.nan), ("2", -1.0)]),
    "infinite": completion(top=[("1", -math.inf), ("2", -1.0)]),
    "a probability above one": completion(top=[("1", 0.5), ("2", -1.0)]),
    "text for a number": completion(top=[("1", "high"), ("2", -1.0)]),
    "one label alone": completion(top=[("1", -0.1)]),
}

NO_CHOICE: dict[str, Any] = {
    "prose": completion(content="I prefer image 2."),
    "an empty answer": completion(content=""),
    "blanks": completion(content=" \n"),
    "no content": completion(content=None),
    "another label": completion(content='{"answer": "3"}'),
    "the other question's label": completion(content='{"answer": "yes"}'),
    "a number": completion(content='{"answer": 1}'),
    "both labels": completion(content='{"answer": ["1", "2"]}'),
    "two answers": completion(content='{"answer": "1", "answer": "2"}'),
    "more than was asked for": completion(content='{"answer": "1", "sk-canary": "2"}'),
    "half an answer": completion(content='{"answer": "1'),
    "cut off": completion(content='{"answer": "1"}', finish_reason="length"),
    "two in a fence": completion(content='```json\n{"answer": "1"}\n{"answer": "2"}\n```'),
    "two documents": completion(content='{"answer": "1"}{"answer": "1"}'),
    "a bare label": completion(content="1"),
    "null": completion(content="null"),
}

OFF_TOPIC: dict[str, Any] = {"other tokens": completion(top=[("3", -0.1), ("The", -3.0)])}

REFUSED: dict[str, Any] = {
    "a refusal": completion(
        top=TWO_LABELS, message={"content": '{"answer": "1"}', "refusal": "I cannot help with that."}
    ),
    "a filter": completion(top=TWO_LABELS, content='{"answer": "1"}', finish_reason="content_filter"),
}

RUNGS: dict[Capability, Callable[[], Endpoint]] = {
    Capability.LABEL_LOG_PROBS: lambda: Endpoint(tokenizes=True),
    Capability.TOP_LOG_PROBS: Endpoint,
    Capability.CHOICE: lambda: Endpoint(refuses_logprobs=True),
}

CASES = [
    *((rung, name, FailureType.JUDGE_MALFORMED, body) for rung in RUNGS for name, body in UNREADABLE.items()),
    *((rung, name, FailureType.JUDGE_REFUSED, body) for rung in RUNGS for name, body in REFUSED.items()),
    *(
        (rung, name, FailureType.JUDGE_MALFORMED, body)
        for rung in RUNGS
        if rung.has_log_probs
        for name, body in NO_LOG_PROBS.items()
    ),
    *((Capability.TOP_LOG_PROBS, name, FailureType.JUDGE_OFF_TOPIC, body) for name, body in OFF_TOPIC.items()),
    *((Capability.LABEL_LOG_PROBS, name, FailureType.JUDGE_MALFORMED, body) for name, body in OFF_TOPIC.items()),
    *((Capability.CHOICE, name, FailureType.JUDGE_MALFORMED, body) for name, body in NO_CHOICE.items()),
]


async def probed(rung: Capability, backend_of: BackendOf) -> tuple[Endpoint, OpenAIBackend]:
    """An endpoint that is asked on this rung, and its backend."""
    endpoint = RUNGS[rung]()
    backend = backend_of(endpoint)
    await backend.probe(within=SOON)
    assert backend.capability is rung
    return endpoint, backend


@pytest.mark.parametrize(
    ("rung", "expected", "body"),
    [(rung, expected, body) for rung, _, expected, body in CASES],
    ids=[f"{rung} - {name}" for rung, name, _, _ in CASES],
)
async def test_a_broken_answer_is_a_typed_failure_on_every_rung(
    rung: Capability, expected: FailureType, body: Any, backend_of: BackendOf
) -> None:
    endpoint, backend = await probed(rung, backend_of)
    endpoint.script = answering(body)
    with pytest.raises(BackendError) as caught:
        await backend.ask(probe_question(), within=SOON)
    assert caught.value.type is expected
    assert "canary" not in caught.value.detail


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, FailureType.JUDGE_REFUSED),
        (401, FailureType.JUDGE_UNAVAILABLE),
        (408, FailureType.JUDGE_TIMEOUT),
        (413, FailureType.JUDGE_REFUSED),
        (422, FailureType.JUDGE_REFUSED),
        (429, FailureType.JUDGE_OVERLOADED),
        (500, FailureType.JUDGE_UNAVAILABLE),
        (503, FailureType.JUDGE_UNAVAILABLE),
    ],
)
@pytest.mark.parametrize("rung", RUNGS)
async def test_every_http_status_is_a_failure_that_quotes_nothing(
    rung: Capability, status: int, expected: FailureType, backend_of: BackendOf
) -> None:
    endpoint, backend = await probed(rung, backend_of)
    endpoint.script = answering({"error": {"message": "key sk-canary is wrong"}}, status=status)
    with pytest.raises(BackendError) as caught:
        await backend.ask(probe_question(), within=SOON)
    assert caught.value.type is expected
    assert caught.value.retry_after_seconds == 7
    assert "canary" not in caught.value.detail


async def test_a_server_that_crashes_is_unavailable(backend_of: BackendOf) -> None:
    endpoint, backend = await probed(Capability.TOP_LOG_PROBS, backend_of)

    async def answer(_: dict[str, Any]) -> Response:
        raise RuntimeError("out of memory")

    endpoint.script = answer
    with pytest.raises(BackendError) as caught:
        await backend.ask(probe_question(), within=SOON)
    assert caught.value.type is FailureType.JUDGE_UNAVAILABLE


async def test_a_stalled_call_is_a_timeout(backend_of: BackendOf, stall: Script) -> None:
    endpoint, backend = await probed(Capability.TOP_LOG_PROBS, backend_of)
    endpoint.script = stall
    with pytest.raises(BackendError, match=r"within 0\.5 s") as caught:
        await backend.ask(probe_question(), within=timedelta(milliseconds=500))
    assert caught.value.type is FailureType.JUDGE_TIMEOUT
