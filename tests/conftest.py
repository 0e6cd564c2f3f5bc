"""Fixtures that more than one folder needs: ports, waiting, services, a tiny model and recipes that train it.

One BLAS/torch thread per process: tests start services beside themselves, and two processes with two threads each on
two cores run many times slower than with one.
"""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import uvicorn

from arr.service_process import running_service
from tests.postgres_server import PostgresServer, running_postgres

if TYPE_CHECKING:
    from trainer.config import TrainConfig

hypothesis.settings.register_profile("unhurried", deadline=None)  # how long an example takes is the machine's business
hypothesis.settings.load_profile("unhurried")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a script; processes would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch; child processes inherit it


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _wait_until(condition: Callable[[], bool], *, timeout_seconds: float = 30.0, what: str = "the condition") -> None:
    """Return as soon as `condition()` is true; fail the test after `timeout_seconds`."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come true within {timeout_seconds:g} s")
        time.sleep(0.02)


@contextmanager
def _serving(app: Any, *, port: int = 0) -> Iterator[str]:
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, access_log=False, timeout_graceful_shutdown=5)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Return a loopback port that nobody listens on."""
    return _free_port


@pytest.fixture(scope="session")
def wait_until() -> Callable[..., None]:
    """`wait_until(condition, timeout_seconds=…, what=…)`: polling instead of sleeping."""
    return _wait_until


@pytest.fixture(scope="session")
def service_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Base URL of an `arr serve` process with its defaults (SQLite, pixel judge) and a data directory of its own."""
    folder = tmp_path_factory.mktemp("service")
    with running_service(folder / "data", log=folder / "serve.log") as service:
        yield service.url


@pytest.fixture(scope="session")
def serving() -> Callable[..., AbstractContextManager[str]]:
    """`with serving(app) as url`: an ASGI app over real HTTP, on a free port unless `port` is given."""
    return _serving


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """`serve(app)`: the same until the end of the test; returns the URL."""
    with ExitStack() as stack:
        yield lambda app, **options: stack.enter_context(_serving(app, **options))


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL, with a new database for everybody who asks."""
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind: what is stored knows no difference."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'arr.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture(scope="session")
def tiny_flux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a real FluxPipeline of a few hundred thousand random parameters."""
    from arr.demo.tiny_flux import build_random_tiny_flux

    directory = tmp_path_factory.mktemp("models") / "tiny-flux"
    build_random_tiny_flux(directory, seed=0)
    return directory


@pytest.fixture(scope="session")
def tiny_sd3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a real StableDiffusion3Pipeline of a million random parameters."""
    from arr.demo.tiny_sd3 import build_random_tiny_sd3

    directory = tmp_path_factory.mktemp("models") / "tiny-sd3"
    build_random_tiny_sd3(directory, seed=0)
    return directory


@pytest.fixture(scope="session")
def tiny_qwen_edit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a real QwenImageEditPipeline of half a million random parameters; it draws 128 × 128 pixels."""
    from arr.demo.tiny_qwen_edit import build_random_tiny_qwen_edit

    directory = tmp_path_factory.mktemp("models") / "tiny-qwen-edit"
    build_random_tiny_qwen_edit(directory, seed=0)
    return directory


@pytest.fixture(scope="session")
def tiny_qwen_edit_plus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a QwenImageEditPlusPipeline."""
    from arr.demo.tiny_qwen_edit import build_random_tiny_qwen_edit_plus

    directory = tmp_path_factory.mktemp("models") / "tiny-qwen-edit-plus"
    build_random_tiny_qwen_edit_plus(directory, seed=0)
    return directory


@pytest.fixture
def make_values(tiny_flux: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """`make_values(steps=2, reward={"url": …})`: the values of a small recipe, sections merged with what is given."""

    def make(**changes: Any) -> dict[str, Any]:
        prompts = tmp_path / "prompts.jsonl"
        lines = [json.dumps({"prompt": prompt}) for prompt in ("a red circle", "a blue square", "a green triangle")]
        prompts.write_text("".join(f"{line}\n" for line in lines))
        values: dict[str, Any] = {
            "output_dir": str(tmp_path / "run"),
            "steps": 2,
            "num_threads": 1,
            "model": {"path": str(tiny_flux), "dtype": "float32", "resolution": 32, "max_sequence_length": 12},
            "lora": {"rank": 4, "alpha": 8},
            "data": {"prompts": str(prompts)},
            "rollout": {"prompts_per_step": 8, "micro_batches": 4},
            "reward": {"rubric": "shapes", "allow_pixel_judge": True, "tie_margin": 0.0},
            "optimizer": {"learning_rate": 1e-3},
            "checkpoint": {"every": 1},
            "evaluation": {"prompts": str(prompts), "every": 2, "images_per_prompt": 2},
        }
        for name, value in changes.items():
            values[name] = {**values.get(name, {}), **value} if isinstance(value, dict) else value
        return values

    return make


@pytest.fixture
def make_config(make_values: Callable[..., dict[str, Any]]) -> "Callable[..., TrainConfig]":
    """The same as a `TrainConfig`; with a folder's own `make_values`, where it has one."""
    from trainer.config import TrainConfig

    return lambda **changes: TrainConfig.model_validate(make_values(**changes))


@pytest.fixture(scope="session")
def scale() -> int:
    """How many times the ordinary amount of work a test of reliability does."""
    return int(os.environ.get("RELIABILITY_SCALE", "1"))


@pytest.fixture
def measured(request: pytest.FixtureRequest, scale: int) -> Iterator[dict[str, Any]]:
    """What a test has to tell; a line of JSON in the file `RELIABILITY_REPORT`, where that names one."""
    told: dict[str, Any] = {}
    begun = time.monotonic()
    yield told
    if path := os.environ.get("RELIABILITY_REPORT"):
        line = {"test": request.node.name, "scale": scale, "seconds": round(time.monotonic() - begun, 1), **told}
        with Path(path).open("a") as report:
            report.write(json.dumps(line) + "\n")
