"""`arr serve` and `arr worker` before what they cannot work with: one line, an exit code, nothing half started."""

import asyncio
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from services.storage.database import Database
from tests.postgres_server import PostgresServer

SECRET = "geheim-4711"

COMMANDS = ("serve", "worker")


@pytest.fixture
def refused(tmp_path: Path, free_port: Callable[[], int]) -> Callable[..., str]:
    """`refused("serve", code=1, ARR_…="…")`: the one line on standard error; the port is free afterwards."""

    def run(command: str, *options: str, code: int, **environment: str) -> str:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ARR_")}
        environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "ARR_PORT": str(free_port()), **environment}
        result = subprocess.run(
            [sys.executable, "-m", "arr.main", command, *options],
            capture_output=True,
            text=True,
            timeout=120,
            env=inherited | environment,
            cwd=tmp_path,
            check=False,
        )
        assert result.returncode == code, result.stderr
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
        assert SECRET not in result.stderr
        socket.create_server(("127.0.0.1", int(environment["ARR_PORT"]))).close()
        return result.stderr

    return run


@pytest.mark.parametrize("command", COMMANDS)
def test_a_database_that_is_down_is_one_line(
    command: str, refused: Callable[..., str], free_port: Callable[[], int]
) -> None:
    port = free_port()
    url = f"postgresql+psycopg://arr:{SECRET}@127.0.0.1:{port}/arr"
    error = refused(command, code=1, ARR_DATABASE_URL=url)
    assert "the database cannot be used" in error
    assert "Connection refused" in error
    assert f"ARR_DATABASE_URL: postgresql+psycopg://arr:***@127.0.0.1:{port}/arr" in error


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_password_is_one_line_without_it(
    command: str, refused: Callable[..., str], postgres: PostgresServer
) -> None:
    url = postgres.new_database()
    conninfo = re.sub(r"^postgresql\+psycopg", "postgresql", url)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        row = connection.execute("SHOW hba_file").fetchone()
        assert row is not None
        access = Path(row[0])
        before = access.read_text()
        access.write_text(f"local all guarded password\n{before}")
        connection.execute("DROP ROLE IF EXISTS guarded")
        connection.execute("CREATE ROLE guarded LOGIN PASSWORD 'another'")
        connection.execute("SELECT pg_reload_conf()")
        try:
            error = refused(command, code=1, ARR_DATABASE_URL=url.replace("postgres@", f"guarded:{SECRET}@"))
        finally:
            access.write_text(before)
            connection.execute("SELECT pg_reload_conf()")
    assert 'password authentication failed for user "guarded"' in error


@pytest.mark.parametrize("command", COMMANDS)
def test_a_database_of_a_newer_release_is_one_line(command: str, refused: Callable[..., str], tmp_path: Path) -> None:
    async def make() -> None:
        database = await Database.open(url)
        async with database.writing() as session:
            await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        await database.close()

    url = f"sqlite+aiosqlite:///{tmp_path / 'newer.db'}"
    asyncio.run(make())
    error = refused(command, code=1, ARR_DATABASE_URL=url)
    assert "was migrated by a newer release" in error
    assert "newer.db" in error


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        (f"postgresql+psycopg://arr:{SECRET}@half@db/arr", "is no URL"),
        (f"postgresql+psycopg://arr:{SECRET}@db:port/arr", "is no URL"),
        (f"mysql://arr:{SECRET}@db/arr", "must start with"),
    ],
)
def test_a_malformed_database_url_is_one_line(url: str, complaint: str, refused: Callable[..., str]) -> None:
    error = refused("worker", code=2, ARR_DATABASE_URL=url)
    assert "ARR_DATABASE_URL" in error
    assert complaint in error


def test_a_file_that_is_no_database_is_one_line(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("not a database, but long enough to be taken for one by its size alone\n" * 20)
    url = f"sqlite+aiosqlite:///{tmp_path / 'notes.db'}"
    assert "file is not a database" in refused("serve", code=1, ARR_DATABASE_URL=url)


@pytest.mark.parametrize(
    ("name", "value"),
    [("ARR_HOST", "0.0.0.0"), ("ARR_API_KEYS", "no-such-file.json"), ("ARR_WORKER_JOBS", "many"),
     ("ARR_REDIS_URL", f"http://:{SECRET}@cache")],
)  # fmt: skip
def test_a_wrong_setting_is_one_line_that_names_it(name: str, value: str, refused: Callable[..., str]) -> None:
    assert name in refused("worker", code=2, **{name: value})


def test_a_data_directory_that_is_a_file_is_one_line(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "--data-dir" in refused("worker", code=2, ARR_DATA_DIR="file/below")
