"""What clients and services of one minor version tell each other, as files that no change may invalidate.

`v0.1/` holds bodies that were really sent: requests by the client, answers by the service. Whoever has to edit one has
broken somebody's client or service; that takes a new minor version and a folder of its own.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pydantic import BaseModel

from reward_client import CandidateGroup, RequestRejected, RewardClient
from reward_client.images import to_png
from shared_schemas.base import RequestModel
from shared_schemas.datasets import Dataset
from shared_schemas.evaluations import EvaluationReport, EvaluationRequest
from shared_schemas.health import Readiness
from shared_schemas.jobs import Job, JobAccepted
from shared_schemas.judgements import JudgementDetail, JudgementPage
from shared_schemas.learning import LearnRequest, LearnResult
from shared_schemas.reward import RewardResponse
from shared_schemas.rubrics import AliasState, RubricPage, RubricVersion

FOLDER = Path(__file__).parent / "v0.1"


def load(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text())


PICTURES = {f"i{number}": np.full((32, 32, 3), level, dtype=np.uint8) for number, level in enumerate((30, 220, 90, 90))}


def ask_for_rewards(url: str, meta: dict[str, Any]) -> httpx.Response:
    files: list[Any] = [("meta", ("meta.json", json.dumps(meta), "application/json"))]
    files += [(name, (f"{name}.png", to_png(picture), "image/png")) for name, picture in PICTURES.items()]
    return httpx.post(f"{url}/reward", files=files, timeout=60)


def test_the_service_takes_the_requests_of_every_client(service_url: str) -> None:
    published = httpx.post(f"{service_url}/rubrics/bright/versions", json=load("request-publish"))
    assert published.json()["digest"] == load("response-version")["digest"]  # it means what it meant
    assert httpx.put(f"{service_url}/rubrics/bright/aliases/production", json=load("request-alias")).is_success
    for name in ("reward", "reward-everything", "reward-pointwise"):
        answer = ask_for_rewards(service_url, load(f"request-{name}"))
        assert answer.is_success, answer.text
        then, now = load(f"response-{name}")["results"], answer.json()["results"]
        assert [group["status"] for group in now] == [group["status"] for group in then]
        assert [group["rewards"] for group in now] == [group["rewards"] for group in then]


@pytest.mark.parametrize(("name", "model"), [("learn", LearnRequest), ("evaluate", EvaluationRequest)])
def test_a_job_that_could_be_asked_for_can_be_asked_for(name: str, model: type[BaseModel]) -> None:
    body = load(f"request-{name}")
    assert model.model_validate(body).model_dump(mode="json", exclude_none=True) == body


def with_news(read: object, raw: Any) -> Any:
    """The same answer from a newer service: a field that nobody has heard of in every object that is not a mapping.

    But for what is a request, too, the content of rubric sets: its digest is over every field, so none may be ignored.
    """
    if isinstance(read, BaseModel):
        fields = {name: with_news(getattr(read, name), value) for name, value in raw.items()}
        return fields if isinstance(read, RequestModel) else fields | {"news": {"of": ["a", "newer", "version"]}}
    if isinstance(read, tuple):
        return [with_news(item, value) for item, value in zip(read, raw, strict=True)]
    return raw


PAIR = [CandidateGroup("a bright thing", (PICTURES["i0"], PICTURES["i1"]), id="g0"),
        CandidateGroup("the same", (PICTURES["i2"], PICTURES["i3"]), id="g1")]  # fmt: skip

Read = Callable[[RewardClient], Any]

CALLS: dict[str, tuple[type[BaseModel], Read]] = {
    "version": (RubricVersion, lambda client: client.get_rubric("bright", 1)),
    "alias": (AliasState, lambda client: client.set_alias("bright", "production", 1)),
    "readiness": (Readiness, lambda client: client.readiness()),
    "reward": (RewardResponse, lambda client: client.reward(PAIR, rubric="bright").response),
    "reward-everything": (RewardResponse, lambda client: client.reward(PAIR, rubric="bright").response),
    "reward-pointwise": (RewardResponse, lambda client: client.reward(PAIR, rubric="bright").response),
    "rubrics": (RubricPage, lambda client: list(client.list_rubrics())),
    "judgements": (JudgementPage, lambda client: list(client.judgements())),
    "judgement": (JudgementDetail, lambda client: client.judgement(1)),
    "dataset": (Dataset, lambda client: client.dataset(1)),
    "job-accepted": (JobAccepted, lambda client: client.evaluate(EvaluationRequest(dataset=1, rubrics=("a",)))),
    "job-learned": (Job, lambda client: client.job(1)),
    "job-evaluated": (Job, lambda client: client.job(1)),
}

RESULTS: dict[str, type[BaseModel]] = {"job-learned": LearnResult, "job-evaluated": EvaluationReport}
"""What a job's `result` holds."""


def answering(body: Any) -> RewardClient:
    """A client whose service says this, whatever it is asked."""
    return RewardClient("http://service", transport=httpx.MockTransport(lambda request: httpx.Response(200, json=body)))


@pytest.mark.parametrize("name", CALLS)
def test_the_client_reads_the_answers_of_older_and_newer_services(name: str) -> None:
    model, call = CALLS[name]
    body = load(f"response-{name}")
    newer = with_news(model.model_validate(body), body)
    assert newer != body
    with answering(body) as old, answering(newer) as new:
        assert call(new) == call(old)


@pytest.mark.parametrize("name", RESULTS)
def test_results_of_jobs_are_read_from_older_and_newer_services(name: str) -> None:
    body = load(f"response-{name}")["result"]
    read = RESULTS[name].model_validate(body)
    assert RESULTS[name].model_validate(with_news(read, body)) == read


def test_the_client_reads_refusals_of_older_and_newer_services() -> None:
    body = load("response-problem") | {"news": 1}
    transport = httpx.MockTransport(lambda request: httpx.Response(404, json=body))
    with RewardClient("http://service", transport=transport) as client, pytest.raises(RequestRejected) as refused:
        client.readiness()
    assert refused.value.problem.slug == "unknown-rubric"


def test_every_file_is_used() -> None:
    responses = {f"response-{name}" for name in [*CALLS, "problem"]}
    requests = {f"request-{name}" for name in ("publish", "alias", "learn", "evaluate")}
    requests |= {f"request-reward{more}" for more in ("", "-everything", "-pointwise")}
    assert {path.stem for path in FOLDER.iterdir()} == responses | requests


def test_a_field_that_the_service_does_not_know_is_refused_not_ignored(service_url: str) -> None:
    meta = load("request-reward") | {"news": 1}
    answer = ask_for_rewards(service_url, meta)
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"where": "meta.news", "message": "Extra inputs are not permitted"}]


def test_so_a_newer_client_sends_no_other_fields_unless_it_is_told_to() -> None:
    """A field that is added later defaults to null: what is null is not sent, and an older service never sees it."""
    sent: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.read())
        return httpx.Response(200, json=load("response-reward"))

    with RewardClient("http://service", transport=httpx.MockTransport(answer)) as client:
        client.reward(PAIR, rubric="bright@production")
    meta, _ = json.JSONDecoder().raw_decode(sent[0][sent[0].index(b"{") :].decode("latin-1"))
    assert meta == load("request-reward")
