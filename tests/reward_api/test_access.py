"""Every operation of the OpenAPI document, knocked at with every kind of wrong key."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends

from services.reward_api.access import GuardedRoute, Principal, open_to_all, requires
from services.reward_api.api_keys import KeyFile
from services.reward_api.app import create_app
from services.reward_api.settings import Settings
from shared_schemas.access import Scope
from shared_schemas.problems import PROBLEM_MEDIA_TYPE, Problem

PROBES = {"GET /livez", "GET /readyz"}

EXAMPLES = {"name": "t2i", "version": "1", "alias": "production"}
"""What stands for a path parameter; others are numbers."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    name: str
    method: str
    path: str
    security: list[dict[str, list[str]]] = field(repr=False)

    @property
    def scopes(self) -> set[str]:
        return {scope for alternative in self.security for scopes in alternative.values() for scope in scopes}


def operations() -> Iterator[Operation]:
    for template, item in create_app(Settings()).openapi()["paths"].items():
        for method, operation in item.items():
            path = re.sub(r"\{(\w+)\}", lambda match: EXAMPLES.get(match[1], "1"), template)
            name = f"{method.upper()} {template}"
            yield Operation(name=name, method=method, path=path, security=operation["security"])


OPERATIONS = list(operations())
GUARDED = [operation for operation in OPERATIONS if operation.name not in PROBES]


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys.json")


@pytest.fixture
def tokens(keys: KeyFile) -> dict[str, str]:
    """Scope → the token of a key with that scope alone."""
    return {scope: keys.add(f"{scope}-only", tenant="t", scopes=[scope])[1] for scope in Scope}


@pytest.fixture
async def guarded(running, keys: KeyFile, tokens: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    """The service with keys."""
    async with running(api_keys=keys.path) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def headers_of(kind: str, token: str) -> list[tuple[bytes, bytes]]:
    """A wrong way to send a good key, or a good way to send a wrong one."""
    unknown = f"arr_{'0' * 12}_{'A' * 43}"
    values = {
        "no key": [],
        "unknown key": [f"Bearer {unknown}"],
        "another secret": [f"Bearer {token[:-43]}{'A' * 43}"],
        "basic": [f"Basic {token}"],
        "no scheme": [token],
        "scheme alone": ["Bearer"],
        "two headers": [f"Bearer {token}", f"Bearer {token}"],
        "two keys": [f"Bearer {token}, Bearer {token}"],
        "trailing blanks": [f"Bearer {token}  "],
        "leading blank": [f" Bearer {token}"],
        "tab": [f"Bearer\t{token}"],
        "non-ASCII": [f"Bearer {token}ü"],
        "NUL": [f"Bearer {token}\0"],
        "lower-case scheme, unknown key": [f"bearer {unknown}"],
        "very long": [f"Bearer {'A' * 100_000}"],
    }
    return [(b"Authorization", value.encode("latin-1")) for value in values[kind]]


WRONG = [
    *("no key", "unknown key", "another secret", "basic", "no scheme", "scheme alone", "two headers", "two keys"),
    *("trailing blanks", "leading blank", "tab", "non-ASCII", "NUL", "lower-case scheme, unknown key", "very long"),
]


def assert_is_unauthenticated(answer: httpx.Response, what: str) -> None:
    assert answer.status_code == 401, what
    assert answer.headers["WWW-Authenticate"] == "Bearer", what
    assert answer.headers["Content-Type"] == PROBLEM_MEDIA_TYPE, what
    assert Problem.model_validate_json(answer.content).slug == "unauthenticated", what


def test_every_operation_but_the_probes_names_its_scopes() -> None:
    assert len(GUARDED) > 8
    for operation in GUARDED:
        assert operation.scopes, operation.name
        assert operation.scopes <= set(Scope), operation.name
    for operation in OPERATIONS:
        if operation.name in PROBES:
            assert operation.security == [], operation.name


@pytest.mark.parametrize(
    ("name", "scopes"),
    [
        ("POST /reward", {"reward"}),
        ("GET /rubrics", {"reward", "rubrics"}),
        ("POST /rubrics/{name}/versions", {"rubrics"}),
        ("PUT /rubrics/{name}/aliases/{alias}", {"rubrics"}),
        ("DELETE /rubrics/{name}/aliases/{alias}", {"rubrics"}),
        ("GET /metrics", {"reward", "rubrics", "admin"}),
    ],
)
def test_each_scope_opens_what_it_is_for(name: str, scopes: set[str]) -> None:
    assert {operation.name: operation.scopes for operation in OPERATIONS}[name] == scopes


def test_the_document_says_how_a_key_is_sent() -> None:
    schemes = create_app(Settings()).openapi()["components"]["securitySchemes"]
    assert [(scheme["type"], scheme["scheme"]) for scheme in schemes.values()] == [("http", "bearer")]
    assert {name for operation in GUARDED for alternative in operation.security for name in alternative} == set(schemes)


@pytest.mark.parametrize("kind", WRONG)
async def test_a_wrong_key_opens_no_operation(guarded, tokens, kind: str) -> None:
    for operation in GUARDED:
        answer = await guarded.request(operation.method, operation.path, headers=headers_of(kind, tokens["admin"]))
        assert_is_unauthenticated(answer, operation.name)


async def test_a_revoked_key_opens_no_operation(running, keys, tokens) -> None:
    keys.revoke(keys.read()[0].id)
    async with running(api_keys=keys.path) as service:
        for operation in GUARDED:
            answer = await service.request(operation.method, operation.path, headers=bearer(tokens["reward"]))
            assert_is_unauthenticated(answer, operation.name)


async def test_a_key_without_the_scope_is_told_which_one_it_needs(guarded, tokens) -> None:
    num_refused = 0
    for operation in GUARDED:
        for scope in {"reward", "rubrics"} - operation.scopes:
            answer = await guarded.request(operation.method, operation.path, headers=bearer(tokens[scope]))
            problem = Problem.model_validate_json(answer.content)
            assert (answer.status_code, problem.slug) == (403, "forbidden"), operation.name
            assert all(needed in problem.detail for needed in operation.scopes), operation.name
            num_refused += 1
    assert num_refused >= 4


async def test_a_key_with_one_of_the_scopes_is_let_in_and_admin_everywhere(guarded, tokens) -> None:
    for operation in GUARDED:
        for scope in {*operation.scopes, "admin"}:
            answer = await guarded.request(operation.method, operation.path, headers=bearer(tokens[scope]))
            assert answer.status_code not in {401, 403}, (operation.name, scope)


async def test_probes_take_any_key_and_none(guarded, tokens) -> None:
    for path in ("/livez", "/readyz"):
        for kind in WRONG:
            assert (await guarded.get(path, headers=headers_of(kind, tokens["reward"]))).status_code == 200, kind


async def test_the_scheme_has_no_case(guarded, tokens) -> None:
    """RFC 9110, 11.1."""
    headers = {"authorization": f"bearer {tokens['reward']}"}
    assert (await guarded.get("/rubrics", headers=headers)).status_code == 200


async def test_a_refusal_comes_before_the_body_is_read(guarded, tokens) -> None:
    was_read = False

    async def body() -> AsyncIterator[bytes]:
        nonlocal was_read
        was_read = True
        yield b"{"

    for operation in (operation for operation in GUARDED if operation.method in {"post", "put"}):
        lacking = "rubrics" if operation.scopes == {"reward"} else "reward"
        for headers, status in (({}, 401), (bearer(tokens[lacking]), 403)):
            sent = {**headers, "Content-Type": "application/json"}
            answer = await guarded.request(operation.method, operation.path, headers=sent, content=body())
            assert (answer.status_code, was_read) == (status, False), operation.name
    answer = await guarded.post("/rubrics/t2i/versions", headers=bearer(tokens["rubrics"]), content=body())
    assert was_read


@pytest.mark.parametrize(
    "path",
    [
        *("//rubrics", "/rubrics/", "/%72ubrics", "/RUBRICS", "/./rubrics", "/rubrics;x", "/rubrics?x"),
        *("/livez/../rubrics", "/livez/%2e%2e/rubrics", "/livez%2f..%2frubrics", "/rubrics/../metrics"),
        *("/%6detrics", "//metrics", "/metrics/"),
    ],
)
async def test_no_way_of_writing_a_path_leads_around_the_key(guarded, path: str) -> None:
    url = httpx.URL(guarded.base_url, raw_path=path.encode())
    answer = await guarded.request("GET", url)
    assert answer.status_code in {307, 401, 404}, answer.text
    if answer.is_redirect:
        assert_is_unauthenticated(await guarded.get(answer.headers["Location"]), path)


async def test_a_key_revoked_while_the_service_runs_is_soon_refused(guarded, keys, tokens) -> None:
    headers = bearer(tokens["reward"])
    assert (await guarded.get("/rubrics", headers=headers)).status_code == 200
    keys.revoke(keys.read()[0].id)
    async with asyncio.timeout(10):
        while (answer := await guarded.get("/rubrics", headers=headers)).status_code == 200:
            pass
    assert_is_unauthenticated(answer, "GET /rubrics")


async def test_the_secret_shows_up_nowhere(running, keys, tokens, ask, png, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    secret = (token := tokens["reward"])[-43:]
    seen = []
    async with running(api_keys=keys.path) as service:
        for kind in WRONG:
            for operation in OPERATIONS:
                seen.append(await service.request(operation.method, operation.path, headers=headers_of(kind, token)))
        service.headers.update(bearer(token))
        for operation in OPERATIONS:
            seen.append(await service.request(operation.method, operation.path))
        groups = [{"id": "g", "prompt": "a lamp", "candidates": ["a", "b"]}]
        seen.append(await ask(service, groups, {"a": png(1.0), "b": png(0.0)}, rubric="t2i@none"))
        seen.append(await service.get("/openapi.json"))
        seen.append(await service.get("/metrics"))
    settings = Settings(api_keys=keys.path)
    said = [answer.text + str(answer.headers) for answer in seen]
    said += [json.dumps(vars(record), default=str) for record in caplog.records]
    said += [repr(settings), settings.model_dump_json(), keys.path.read_text(), repr(keys.read())]
    assert not [text for text in said if secret in text]


async def test_without_a_key_file_everybody_may_do_everything(service) -> None:
    for operation in OPERATIONS:
        answer = await service.request(operation.method, operation.path)
        assert answer.status_code not in {401, 403}, operation.name


def test_a_route_that_does_not_say_whom_it_is_for_cannot_be_written() -> None:
    router = APIRouter(route_class=GuardedRoute)
    with pytest.raises(TypeError, match="/secrets must depend on"):
        router.get("/secrets")(_secrets)
    with pytest.raises(TypeError, match="/secrets must depend on"):
        router.get("/secrets", dependencies=[Depends(open_to_all), Depends(requires(Scope.ADMIN))])(_secrets)
    router.get("/secrets", dependencies=[Depends(open_to_all)])(_secrets)


def test_a_requirement_may_stand_in_the_signature() -> None:
    async def secrets(_principal: Annotated[Principal, Depends(requires(Scope.ADMIN))]) -> None: ...

    router = APIRouter(route_class=GuardedRoute)
    router.get("/secrets")(secrets)
    (route,) = router.routes
    assert isinstance(route, GuardedRoute)
    assert route.openapi_extra == {"security": [{"api_key": ["admin"]}]}


@pytest.mark.parametrize("scope", Scope)
def test_only_an_admin_sees_all_tenants(scope: Scope) -> None:
    principal = Principal(tenant="t", key_id="0", scopes=frozenset({scope}))
    assert principal.sees_all_tenants is (scope is Scope.ADMIN)


async def _secrets() -> dict[str, Any]:
    return {}
