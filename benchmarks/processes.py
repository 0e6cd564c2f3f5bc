"""The processes under measurement: judge, service, and what CPU time they take.

Owns starting and stopping them, each in a session of its own and with a folder of its own. Settings of the caller's
environment are left out, so that a measurement is the same for everybody.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[1]
VLLM = ROOT / ".vllm"

_STOP_SECONDS = 15.0
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

_VLLM_COMMAND = (
    *(str(VLLM / "venv" / "bin" / "python"), "-m", "vllm.entrypoints.openai.api_server"),
    *("--model", str(VLLM / "tiny-qwen3vl"), "--served-model-name", "tiny-qwen3vl", "--host", "127.0.0.1"),
    *("--dtype", "float32", "--enforce-eager", "--max-model-len", "4096", "--scheduling-policy", "priority"),
    *("--limit-mm-per-prompt", '{"image": 3, "video": 0}'),
)
_VLLM_ENVIRONMENT = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "TORCHDYNAMO_DISABLE": "1",  # without a C++ compiler the sampler could not be compiled
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}


class DidNotStartError(RuntimeError):
    """A process ended or stayed silent; the message ends with the end of its log."""


class Server:
    """One started process."""

    def __init__(self, name: str, url: str, process: "subprocess.Popen[bytes] | None") -> None:
        self.name = name
        self.url = url
        self._process = process

    def cpu_seconds(self) -> float:
        """CPU time of its whole process group so far; 0 for a server that was not started here."""
        if self._process is None:
            return 0.0
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # a process that has ended meanwhile
                fields = stat.read_text().rpartition(")")[2].split()
                if int(fields[2]) == self._process.pid:
                    ticks += int(fields[11]) + int(fields[12])
        return ticks / _TICKS_PER_SECOND


@contextmanager
def pixel_judge(folder: Path, settings: Mapping[str, object]) -> Iterator[Server]:
    """`arr pixel-judge`; `settings` as in docs/judging.md, without their prefix."""
    variables = {f"ARR_PIXEL_JUDGE_{name.upper()}": str(value) for name, value in settings.items()}
    with _running("judge", [*_arr("pixel-judge")], folder, variables, ready="/health", within_seconds=30) as server:
        yield server


@contextmanager
def service(folder: Path, settings: Mapping[str, object], *, profile: Path | None = None) -> Iterator[Server]:
    """`arr serve` on a new data directory; `settings` as in docs/api.md, without their prefix.

    With `profile`, the same application under a profiler, which writes there at the end.
    """
    variables = {f"ARR_{name.upper()}": str(value) for name, value in settings.items()}
    variables["ARR_DATA_DIR"] = str(folder / "data")
    command = _arr("serve") if profile is None else [sys.executable, "-m", "benchmarks.profiled_service", str(profile)]
    with _running("service", command, folder, variables, ready="/readyz", within_seconds=60) as server:
        yield server


@contextmanager
def vllm(folder: Path) -> Iterator[Server]:
    """What `make test-vllm` builds: vLLM's CPU build with a tiny random model."""
    variables = {**_VLLM_ENVIRONMENT, "VLLM_CACHE_ROOT": str(folder), "HF_HOME": str(folder)}
    with _running("judge", list(_VLLM_COMMAND), folder, variables, ready="/health", within_seconds=240) as server:
        yield server


def is_vllm_built() -> bool:
    """Whether `vllm` can be started."""
    return (VLLM / "built").exists()


def _arr(command: str) -> list[str]:
    return [sys.executable, "-m", "arr.main", command]


@contextmanager
def _running(
    name: str, command: Sequence[str], folder: Path, variables: Mapping[str, str], *, ready: str, within_seconds: float
) -> Iterator[Server]:
    """Start `command --port …`, wait until `ready` answers, and end its process group afterwards."""
    port, log = _free_port(), folder / f"{name}.log"
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("ARR_", "VLLM_"))}
    environment = inherited | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **variables}
    folder.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            stdout=output,
            stderr=output,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
    server = Server(name, f"http://127.0.0.1:{port}", process)
    try:
        _wait_until_ready(process, f"{server.url}{ready}", log, within_seconds=within_seconds)
        yield server
    finally:
        _stop(process)


def _wait_until_ready(process: "subprocess.Popen[bytes]", url: str, log: Path, *, within_seconds: float) -> None:
    deadline = time.monotonic() + within_seconds
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(httpx.TransportError):  # not listening yet
            if httpx.get(url, timeout=5.0, trust_env=False).is_success:
                return
        time.sleep(0.05)
    tail = " | ".join(log.read_text(errors="replace").splitlines()[-5:])
    ended = (
        f"ended with code {code}" if (code := process.poll()) is not None else f"was silent for {within_seconds:g} s"
    )
    raise DidNotStartError(f"the server at {url} {ended}: {tail}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Asked first, then the hard way; engines of a server that is gone are ended too."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
