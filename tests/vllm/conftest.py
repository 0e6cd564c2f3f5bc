"""vLLM as a real process on a loopback port, the pictures it is shown, and judges in front of it.

`make test-vllm` builds what is started here. One server serves the whole session: each takes a minute to start.
"""

import io
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from services.judging.answering import AskLimits
from services.judging.backend import OpenAIBackend
from services.judging.cache import MemoryVerdictCache
from services.judging.images import JudgeImage, read_png
from services.judging.judge import Judge, JudgeLimits
from shared_schemas.rubrics import Criterion, RubricContent, Task

BUILT = Path(__file__).parents[2] / ".vllm"
MODEL_NAME = "tiny-qwen3vl"

START_SECONDS = 240.0
"""A minute on an idle machine of two cores; three processes import torch one after the other."""

STOP_SECONDS = 20.0

SERVER = (
    *("--model", str(BUILT / "tiny-qwen3vl"), "--served-model-name", MODEL_NAME, "--host", "127.0.0.1"),
    *("--dtype", "float32", "--enforce-eager", "--max-model-len", "4096"),
    *("--limit-mm-per-prompt", '{"image": 6, "video": 0}', "--scheduling-policy", "priority"),
    *("--max-logprobs", "-1"),  # all of them, so that a test can look at the whole distribution
)

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "TORCHDYNAMO_DISABLE": "1",  # the sampler compiles C++ in spite of --enforce-eager
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}

PATIENCE = timedelta(seconds=60)

CRITERIA = (
    Criterion(id="colour", theme="Colour", tips=("the colours are those of the prompt",)),
    Criterion(id="shape", theme="Shape", tips=("the outline is clean",)),
)


_logs: list[Path] = []
"""Of the servers started so far; a test that fails shows the end of each."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections += [(f"end of {log}", _tail(log)) for log in _logs]
    return report


@contextmanager
def _vllm(folder: Path, port: int) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """One server and its URL, ready; ended with its whole process group, so that no engine is left behind."""
    python = BUILT / "venv" / "bin" / "python"
    if not (BUILT / "built").exists():
        pytest.fail("vLLM is not built: `make test-vllm` does it")
    log = folder / "vllm.log"
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--port", str(port), *SERVER]
    home = {"VLLM_CACHE_ROOT": str(folder), "VLLM_CONFIG_ROOT": str(folder), "HF_HOME": str(folder)}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VLLM_"))}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            cwd=folder,
            env=inherited | ENVIRONMENT | home,
            start_new_session=True,
        )
    _logs.append(log)
    try:
        _wait_until_ready(process, url := f"http://127.0.0.1:{port}")
        yield process, url
    finally:
        _stop(process)


def _wait_until_ready(process: "subprocess.Popen[bytes]", url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"vLLM ended with code {process.returncode}")
        try:
            if httpx.get(f"{url}/health", timeout=5.0, trust_env=False).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.5)  # not listening yet
    pytest.fail(f"vLLM was not ready after {START_SECONDS:g} s")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """End the server and its engines, which outlive a server that was killed: asked first, then the hard way."""
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + STOP_SECONDS
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal_number)
        while not _is_gone(process) and time.monotonic() < deadline:
            time.sleep(0.1)


def _is_gone(process: "subprocess.Popen[bytes]") -> bool:
    """Whether nobody is left in its process group; it counts itself until it has been waited for."""
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return True
    return False


def _tail(log: Path, num_lines: int = 40) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-num_lines:])


@pytest.fixture(scope="session")
def start_vllm(
    tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Callable[[], AbstractContextManager[tuple["subprocess.Popen[bytes]", str]]]:
    """`with start_vllm() as (process, url)`: one more server."""
    return lambda: _vllm(tmp_path_factory.mktemp("vllm"), free_port())


@pytest.fixture(scope="session")
def vllm_url(start_vllm: Callable[[], AbstractContextManager[tuple["subprocess.Popen[bytes]", str]]]) -> Iterator[str]:
    """Root URL of the server that all tests share."""
    with start_vllm() as (_, url):
        yield url


@pytest.fixture
async def backend(vllm_url: str) -> AsyncIterator[OpenAIBackend]:
    """The project's client of that server, probed."""
    client = OpenAIBackend.over_url(vllm_url)
    await client.probe(within=PATIENCE)
    yield client
    await client.aclose()


@pytest.fixture(scope="session")
def any_label_mass() -> JudgeLimits:
    """Limits that believe a random model, which gives the labels two percent between them."""
    return JudgeLimits(ask=AskLimits(min_label_mass=0.0))


@pytest.fixture
async def start_judge() -> AsyncIterator[Callable[..., Awaitable[Judge]]]:
    """`await start_judge(url, …, limits=…)`: a started judge over these replicas, with a cache of its own."""
    judges: list[Judge] = []

    async def start(*urls: str, **options: Any) -> Judge:
        judge = Judge([OpenAIBackend.over_url(url) for url in urls], cache=MemoryVerdictCache(), **options)
        judges.append(judge)
        await judge.start()
        return judge

    yield start
    for judge in judges:
        await judge.aclose()


@pytest.fixture
async def judge(start_judge: Callable[..., Awaitable[Judge]], vllm_url: str, any_label_mass: JudgeLimits) -> Judge:
    """A judge over the shared server."""
    return await start_judge(vllm_url, limits=any_label_mass)


@pytest.fixture(scope="session")
def nearly() -> Callable[[Any], Any]:
    """`x == nearly(y)`: up to what float32 sums differ by when they are batched differently."""
    return lambda expected: pytest.approx(expected, abs=1e-5)


@pytest.fixture(scope="session")
def picture() -> Callable[..., JudgeImage]:
    """`picture(7)`: coarse coloured noise, another one for every number; `width` and `height` in pixels."""

    def paint(number: int, *, width: int = 64, height: int = 64) -> JudgeImage:
        cells = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(cells).resize((width, height), Image.Resampling.NEAREST).save(buffer, format="PNG")
        return read_png(buffer.getvalue())

    return paint


@pytest.fixture(scope="session")
def rubric() -> RubricContent:
    """Two criteria for text-to-image."""
    return RubricContent(task=Task.T2I, criteria=CRITERIA)


@pytest.fixture(scope="session")
def edit_rubric() -> RubricContent:
    """The same for edits."""
    return RubricContent(task=Task.EDIT, criteria=CRITERIA)
