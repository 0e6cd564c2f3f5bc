import sqlite3
from datetime import timedelta

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.exc import OperationalError

from services.reward_api.errors import ApiError, InvalidRequest, Overloaded, install_error_handlers
from shared_schemas.problems import Problem, ProblemType


def subclasses(kind: type[ApiError]) -> list[type[ApiError]]:
    """Every refusal with a slug of its own; a class without one says more about its parent's."""
    found = [found for child in kind.__subclasses__() for found in (child, *subclasses(child))]
    return [child for child in found if "type" in vars(child)]


@pytest.mark.parametrize("kind", subclasses(ApiError))
def test_every_refusal_has_a_status_and_a_slug(kind) -> None:
    error = kind("why")
    assert 400 <= error.status_code < 600
    assert error.type in ProblemType


def test_no_two_refusals_share_a_slug() -> None:
    slugs = [kind.type for kind in subclasses(ApiError)]
    assert len(set(slugs)) == len(slugs)
    assert InvalidRequest.type in slugs


async def test_what_may_be_asked_again_says_when_in_whole_seconds_that_are_never_too_few() -> None:
    app = FastAPI()
    install_error_handlers(app)

    @app.get("/{milliseconds}")
    async def refuse(milliseconds: int) -> None:
        raise Overloaded("too much to do", retry_after=timedelta(milliseconds=milliseconds))

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://s") as client:
        answers = [await client.get(f"/{milliseconds}") for milliseconds in (0, 1000, 1001)]
    assert [(answer.status_code, answer.headers["Retry-After"]) for answer in answers] == [
        (429, "1"),
        (429, "1"),
        (429, "2"),
    ]
    assert Problem.model_validate_json(answers[0].content).slug == "overloaded"


async def test_a_full_disk_is_told_apart_from_a_missing_database() -> None:
    app = FastAPI()
    install_error_handlers(app)

    @app.get("/{message}")
    async def fail(message: str) -> None:
        raise OperationalError("INSERT …", None, sqlite3.OperationalError(message))

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://s") as client:
        full = await client.get("/database or disk is full")
        away = await client.get("/unable to open database file")
    assert (full.status_code, Problem.model_validate_json(full.content).slug) == (507, "storage-full")
    assert (away.status_code, Problem.model_validate_json(away.content).slug) == (503, "unavailable")
    assert "INSERT" not in full.text + away.text
    assert int(away.headers["Retry-After"]) > 0
