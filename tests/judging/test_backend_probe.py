"""What is found out about a vLLM server, and how it is used: a scripted one that answers as vLLM 0.32 was seen to."""

import math
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.judging.answers import LabelAnswer
from services.judging.backend import (
    BackendError,
    BackendIdentity,
    Capability,
    OpenAIBackend,
    ServedModel,
    ServerLoad,
)
from services.judging.connection import JudgeConnection
from services.judging.images import JudgeImage
from services.judging.probe_question import probe_question
from services.judging.prompts import criterion_prompt
from shared_schemas.problems import FailureType
from shared_schemas.rubrics import RubricContent
from tests.judging.scripted_vllm import (
    MODEL,
    NUM_SPELLINGS,
    P_FIRST,
    P_SECOND,
    REFUSED_IMAGES,
    TOKENS,
    Vllm,
    backend_for,
)

SOON = timedelta(seconds=20)


@pytest.fixture
def vllm() -> Vllm:
    return Vllm()


async def test_vllm_is_asked_for_the_raw_log_probs_of_every_spelling_of_the_labels(vllm: Vllm) -> None:
    backend = backend_for(vllm)
    identity = await backend.probe(within=SOON)
    assert (identity.model, identity.server_version, identity.style) == (MODEL, "0.32.0", "logprob_token_ids")
    answer = await backend.ask(probe_question(), within=SOON)
    body = vllm.bodies[-1]
    assert body["logprob_token_ids"] == body["allowed_token_ids"] == [24, 294, 25, 295]
    assert (body["max_tokens"], body["temperature"], body["logprobs"]) == (1, 0, True)
    assert "top_logprobs" not in body
    assert isinstance(answer, LabelAnswer)
    assert answer.log_odds == pytest.approx(math.log(P_FIRST / P_SECOND))
    assert answer.label_mass == pytest.approx(P_FIRST + P_SECOND)
    assert (answer.prompt_tokens, answer.completion_tokens) == (501, 1)


async def test_a_yes_no_question_is_asked_for_its_own_labels(
    vllm: Vllm, red_circle: JudgeImage, rubric: RubricContent
) -> None:
    backend = backend_for(vllm)
    await backend.probe(within=SOON)
    prompt = criterion_prompt("a red circle", red_circle, source=None, criterion=rubric.criteria[0], rubric=rubric)
    answer = await backend.ask(prompt, within=SOON)
    assert vllm.bodies[-1]["logprob_token_ids"] == vllm.bodies[-1]["allowed_token_ids"] == [291, 307, 281, 303]
    assert isinstance(answer, LabelAnswer)
    # log(e^−5.5 + e^−6.5) − log(e^−6 + e^−7): both differ by one nat, so the halves cancel but for −5.5 + 6.
    assert answer.log_odds == pytest.approx(0.5)


@pytest.mark.parametrize("orders_its_queue", [True, False])
async def test_a_priority_is_sent_to_servers_that_take_one(vllm: Vllm, orders_its_queue: bool) -> None:
    vllm.orders_its_queue = orders_its_queue
    backend = backend_for(vllm)
    identity = await backend.probe(within=SOON)
    assert (identity.style, len(vllm.bodies)) == ("logprob_token_ids", 2)
    await backend.ask(probe_question(), within=SOON, priority=2)
    assert vllm.bodies[-1].get("priority") == (2 if orders_its_queue else None)
    await backend.ask(probe_question(), within=SOON)
    assert "priority" not in vllm.bodies[-1]


async def test_a_server_that_is_busy_when_its_priorities_are_tried_is_probed_again(vllm: Vllm) -> None:
    async def busy_second(scope: Scope, receive: Receive, send: Send) -> None:
        app = Response("later", 429) if scope["path"].endswith("/completions") and vllm.bodies else vllm.app
        await app(scope, receive, send)

    transport = httpx2.ASGITransport(app=busy_second)
    backend = OpenAIBackend(JudgeConnection(url="http://judge", api_key=None, transport=transport), model=None)
    with pytest.raises(BackendError) as caught:
        await backend.probe(within=SOON)
    assert caught.value.type is FailureType.JUDGE_OVERLOADED


@pytest.mark.parametrize(
    "tokens",
    [
        {text: ids for text, ids in TOKENS.items() if text.strip() != "no"},
        {text: [3] if text.strip() in {"yes", "no"} else ids for text, ids in TOKENS.items()},
    ],
    ids=["missing", "the same for both"],
)
async def test_labels_that_are_no_tokens_of_their_own_are_not_asked_for_by_id(
    vllm: Vllm, tokens: dict[str, list[int]]
) -> None:
    vllm.tokens = tokens
    backend = backend_for(vllm)
    assert (await backend.probe(within=SOON)).style == "top_logprobs=20"
    assert backend.capability is Capability.TOP_LOG_PROBS


def served(identity: BackendIdentity) -> ServedModel:
    return ServedModel(model=identity.model, server_version=identity.server_version, revision=identity.revision)


async def test_a_server_that_stays_the_same_is_identified_as_the_one_that_was_probed(vllm: Vllm) -> None:
    backend = backend_for(vllm)
    identity = await backend.probe(within=SOON)
    num_judgements = len(vllm.bodies)
    assert await backend.identify(within=SOON) == served(identity)
    assert identity.revision == '{"max_model_len": 4096, "root": "/models/tiny"}'
    assert len(vllm.bodies) == num_judgements


@pytest.mark.parametrize("change", [{"root": "/models/other"}, {"max_model_len": 512}, {"id": "other"}, {}])
@pytest.mark.parametrize("model", [None, MODEL])
async def test_another_model_behind_the_same_url_is_noticed(
    vllm: Vllm, change: dict[str, Any], model: str | None
) -> None:
    backend = backend_for(vllm, model=model)
    identity = await backend.probe(within=SOON)
    vllm.card |= change
    vllm.version = "0.33.0" if not change else vllm.version
    assert await backend.identify(within=SOON) != served(identity)


@pytest.mark.parametrize("route", ["/v1/models", "/version"])
@pytest.mark.parametrize("status", [401, 403, 500, 502, 503])
async def test_a_route_that_answered_before_is_not_taken_for_missing(vllm: Vllm, route: str, status: int) -> None:
    backend = backend_for(vllm, model=MODEL)
    await backend.probe(within=SOON)
    vllm.broken = {route: status}
    with pytest.raises(BackendError) as caught:
        await backend.identify(within=SOON)
    assert caught.value.status == status


async def test_a_gateway_without_these_routes_is_identified_by_the_model_it_was_asked_for(vllm: Vllm) -> None:
    vllm.broken = {"/v1/models": 403, "/version": 404}
    backend = backend_for(vllm, model=MODEL)
    identity = await backend.probe(within=SOON)
    assert served(identity) == ServedModel(model=MODEL, server_version="", revision="")
    assert await backend.identify(within=SOON) == served(identity)


async def test_a_server_that_lost_its_version_for_good_is_another_one(vllm: Vllm) -> None:
    backend = backend_for(vllm)
    identity = await backend.probe(within=SOON)
    vllm.broken = {"/version": 404}
    assert (await backend.identify(within=SOON)) != served(identity)


async def test_its_load_is_read_off_its_metrics(vllm: Vllm) -> None:
    vllm.metrics = 'vllm:num_requests_running{engine="0"} 3.0\nvllm:num_requests_waiting{engine="0"} 4.0\n'
    assert await backend_for(vllm).load(within=SOON) == ServerLoad(running=3, waiting=4)


@pytest.mark.parametrize("status", [404, 401, 500, 503])
async def test_a_server_that_shows_no_metrics_has_no_known_load(vllm: Vllm, status: int) -> None:
    vllm.broken = {"/metrics": status}
    assert await backend_for(vllm).load(within=SOON) is None


async def test_a_server_that_is_too_busy_to_say_so_is_an_error(vllm: Vllm) -> None:
    vllm.broken = {"/metrics": 429}
    with pytest.raises(BackendError) as caught:
        await backend_for(vllm).load(within=SOON)
    assert caught.value.type is FailureType.JUDGE_OVERLOADED


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://gpu-1:8000/v1", "gpu-1:8000"),
        ("http://gpu-1", "gpu-1:80"),
        ("https://user:sk-canary@judge.example/sk-canary/v1?key=sk-canary", "judge.example:443"),
        ("http://[::1]:8000", "[::1]:8000"),
    ],
)
def test_its_name_is_its_host_and_port_and_nothing_secret(url: str, name: str) -> None:
    assert OpenAIBackend.over_url(url, api_key="sk-canary").name == name
    assert OpenAIBackend.in_process(Vllm().app).name == "in-process"


@pytest.mark.parametrize(
    ("route", "status"),
    [
        (route, status)
        for route in ("/v1/models", "/tokenize", "/version", "/v1/chat/completions")
        for status in (408, 429)
    ]
    + [(route, status) for route in ("/v1/models", "/v1/chat/completions") for status in (502, 503, 504)],
)
async def test_a_server_that_is_busy_or_away_is_not_taken_for_a_lesser_one(vllm: Vllm, route: str, status: int) -> None:
    backend = backend_for(vllm)
    vllm.broken = {route: status}
    with pytest.raises(BackendError) as caught:
        await backend.probe(within=SOON)
    assert caught.value.type.is_retryable
    vllm.broken = {}
    assert (await backend.probe(within=SOON)).style == "logprob_token_ids"


async def test_a_connection_that_breaks_at_tokenize_is_not_taken_for_a_lesser_server(vllm: Vllm) -> None:
    async def breaking(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/tokenize":
            raise httpx2.ReadError("reset by peer")
        await vllm.app(scope, receive, send)

    transport = httpx2.ASGITransport(app=breaking)
    backend = OpenAIBackend(JudgeConnection(url="http://judge", api_key=None, transport=transport), model=None)
    with pytest.raises(BackendError, match="broke the connection off"):
        await backend.probe(within=SOON)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 500, 501, 503])
async def test_a_server_without_tokenize_is_asked_for_top_log_probs(vllm: Vllm, status: int) -> None:
    vllm.broken = {"/tokenize": status, "/version": status}
    identity = await backend_for(vllm).probe(within=SOON)
    assert (identity.server_version, identity.style) == ("", "top_logprobs=20")
    assert "allowed_token_ids" not in vllm.bodies[-1]


async def test_a_server_that_crashes_on_what_it_does_not_know_is_asked_another_way(vllm: Vllm) -> None:
    vllm.crashes_on = "logprob_token_ids"
    assert (await backend_for(vllm).probe(within=SOON)).style == "top_logprobs=20"


async def test_a_model_that_is_not_served_is_named_beside_those_that_are(vllm: Vllm) -> None:
    with pytest.raises(BackendError) as caught:
        await backend_for(vllm, model="nope").probe(within=SOON)
    assert caught.value.detail == "the judge has no model 'nope'; it serves tiny-qwen"
    assert caught.value.type is FailureType.JUDGE_REFUSED
    assert len(vllm.bodies) == 1


@pytest.mark.parametrize(
    ("model", "detail"),
    [(None, "it lists no models; its URL is wrong"), (MODEL, "no chat API for 'tiny-qwen' at this")],
)
async def test_a_wrong_url_is_said_to_be_one(vllm: Vllm, model: str | None, detail: str) -> None:
    with pytest.raises(BackendError, match=detail):
        await backend_for(vllm, url="http://judge:8000/v2", model=model).probe(within=SOON)


async def test_a_server_that_refuses_every_way_of_asking_is_quoted_with_the_parameter_it_names(vllm: Vllm) -> None:
    vllm.broken, vllm.error = {"/v1/chat/completions": 400}, REFUSED_IMAGES
    with pytest.raises(BackendError) as caught:
        await backend_for(vllm).probe(within=SOON)
    assert caught.value.type is FailureType.JUDGE_REFUSED
    assert caught.value.detail == (
        "the judge refused the request (HTTP 400: too many images in one question; it takes 1 at most), "
        "whichever way 'tiny-qwen' is asked"
    )


async def test_a_server_that_keeps_us_out_is_asked_once(vllm: Vllm) -> None:
    vllm.broken = {"/v1/chat/completions": 401}
    with pytest.raises(BackendError, match="refused our credentials") as caught:
        await backend_for(vllm, model=MODEL).probe(within=SOON)
    assert caught.value.type is FailureType.JUDGE_UNAVAILABLE
    num_looks, num_chats = 2, 1
    assert len(vllm.authorizations) == num_looks + NUM_SPELLINGS + num_chats


@pytest.mark.parametrize("url", ["http://judge", "http://judge/", "http://judge/v1", "http://judge:8000/v1/"])
async def test_the_url_may_end_in_v1_or_not_and_the_key_goes_to_every_route(vllm: Vllm, url: str) -> None:
    identity = await backend_for(vllm, url=url, api_key="sk-right").probe(within=SOON)
    assert identity.style == "logprob_token_ids"
    assert set(vllm.authorizations) == {"Bearer sk-right"}


async def test_a_judge_behind_a_path_is_reached_with_all_its_routes() -> None:
    identity = await backend_for(Vllm(prefix="/gpu-1"), url="http://gateway/gpu-1/v1").probe(within=SOON)
    assert (identity.server_version, identity.style) == ("0.32.0", "logprob_token_ids")
