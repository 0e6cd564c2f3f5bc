"""A real Redis for tests: taken from PATH, remembering nothing, reached over a socket file of its own.

Without one a test skips, saying so; with CI=true, where `.ci/run` has installed it, it fails.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

_READY = "ready to accept connections"


class RedisServer:
    """One `redis-server` process at a time, always under the same URL."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "redis.sock"
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self, *options: str) -> None:
        """Return when it accepts connections."""
        address = ("--port", "0", "--unixsocket", str(self.socket))
        self._process = subprocess.Popen(
            ["redis-server", *address, "--save", "", "--appendonly", "no", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._process.stdout is not None
        log = []
        for line in self._process.stdout:
            log.append(line)
            if _READY in line.lower():
                return
        pytest.fail(f"redis-server ended: {''.join(log)}")

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    @contextmanager
    def admin(self) -> Iterator[Redis]:
        """A plain client, to look and to meddle."""
        with Redis(unix_socket_path=str(self.socket)) as client:
            yield client


@contextmanager
def running_redis(*options: str) -> Iterator[RedisServer]:
    """A server with these command-line options."""
    if shutil.which("redis-server") is None:
        sentence = "redis-server is not on PATH; on Debian: apt-get install redis-server"
        if os.environ.get("CI") == "true":
            pytest.fail(sentence)
        pytest.skip(sentence)
    # Not pytest's own folder: the path of a socket has room for 107 characters.
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(Path(folder))
        server.start(*options)
        try:
            yield server
        finally:
            server.kill()
