import sqlite3

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.exc import OperationalError

from services.reward_api.errors import ApiError, InvalidRequest, install_error_handlers
from shared_schemas.problems import Problem, ProblemType


def subclasses(kind: type[ApiError]) -> list[type[ApiError]]:
    return [found for child in kind.__subclasses__() for found in (child, *subclasses(child))]


@pytest.mark.parametrize("kind", subclasses(ApiError))
def test_every_refusal_has_a_status_and_a_slug(kind) -> None:
    error = kind("why")
    assert 400 <= error.status_code < 600
    assert error.type in ProblemType


def test_no_two_refusals_share_a_slug() -> None:
    slugs = [kind.type for kind in subclasses(ApiError)]
    assert len(set(slugs)) == len(slugs)
    assert InvalidRequest.type in slugs


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
