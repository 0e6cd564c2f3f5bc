"""A real PostgreSQL for tests: the distribution's binaries, a cluster of its own in a temporary folder, a socket file.

Without one a test skips, saying so; with CI=true, where `.ci/run` has installed it, it fails.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest

_USER = "postgres"
"""Who owns the cluster when the tests are run by root, as whom PostgreSQL refuses to run."""

_QUICK = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "max_connections=200")


class PostgresServer:
    """One `postgres` process; every test gets a database of its own."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries = binaries
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._names = (f"test_{number}" for number in count())

    def create_cluster(self) -> None:
        """Make the files of a new cluster."""
        options = ["-U", _USER, "-A", "trust", "-N", "-E", "UTF8"]
        command: list[str | Path] = [self._binaries / "initdb", "-D", self._folder / "data", *options]
        subprocess.run(command, check=True, capture_output=True, user=_owner(), cwd=self._folder)

    def start(self) -> None:
        """Return when it takes connections."""
        address = ["-h", "", "-k", str(self._folder)]
        command: list[str | Path] = [self._binaries / "postgres", "-D", self._folder / "data", *address, *_QUICK]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, user=_owner(), cwd=self._folder)
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self._conninfo("postgres")).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"postgres does not start: {(self._folder / 'log').read_text()[-2000:]}")
                time.sleep(0.05)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.send_signal(3)  # SIGQUIT: immediate shutdown, children included
            self._process.wait()
            self._process = None

    def new_database(self) -> str:
        """The SQLAlchemy URL of an empty database."""
        name = next(self._names)
        with psycopg.connect(self._conninfo("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://{_USER}@/{name}?host={self._folder}"

    def _conninfo(self, database: str) -> str:
        return f"host={self._folder} user={_USER} dbname={database}"


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """A server with an empty cluster."""
    binaries = _find_binaries()
    if binaries is None:
        sentence = "PostgreSQL is not installed; on Debian: apt-get install postgresql"
        if os.environ.get("CI") == "true":
            pytest.fail(sentence)
        pytest.skip(sentence)
    # Not pytest's own folder: the path of a socket has room for 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    if (owner := _owner()) is not None:
        shutil.chown(folder, owner)
    server = PostgresServer(binaries, folder)
    try:
        server.create_cluster()
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder)


def _find_binaries() -> Path | None:
    """The newest installed version's; Debian keeps them out of PATH."""
    if (on_path := shutil.which("initdb")) is not None:
        return Path(on_path).parent
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


def _owner() -> str | None:
    """As whom to run it: another user than root."""
    if os.geteuid() != 0:
        return None
    pwd.getpwnam(_USER)
    return _USER
