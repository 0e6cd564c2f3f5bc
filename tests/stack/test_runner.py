"""The runner on processes that take no time: order, restarts, refusals, and that nothing is left behind."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import tomli_w

from tests.stack.running_stack import ROOT, RunningStack, is_running, short_folder

Start = Callable[..., RunningStack]


def python(source: str) -> list[str]:
    return ["python", "-c", source]


WAIT = python("import time; print('ready', flush=True); time.sleep(600)")
STUBBORN = python(
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
)
PROBE = python(
    "import http.server, sys;"
    "H = type('H', (http.server.BaseHTTPRequestHandler,), {'do_GET': lambda self: self.send_response(200)"
    " or self.end_headers(), 'log_message': lambda *_: None});"
    "server = http.server.HTTPServer(('127.0.0.1', {{ ports.public }}), H);"
    "print('ready', flush=True); server.serve_forever()"
)


def service(name: str, command: list[str] = WAIT, **more: Any) -> dict[str, Any]:
    return {"name": name, "command": command, "ready": "ready", **more}


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as folder:
        yield folder


def write_file(folder: Path, *processes: dict[str, Any], **ports: int) -> Path:
    path = folder / "some.toml"
    url = "http://127.0.0.1:{{ ports.public }}"
    path.write_text(tomli_w.dumps({"url": url, "ports": {"public": 0, **ports}, "process": list(processes)}))
    return path


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    started: list[RunningStack] = []

    def run(*processes: dict[str, Any]) -> RunningStack:
        started.append(RunningStack(folder, "--file", str(write_file(folder, *processes))))
        started[-1].until_started()
        return started[-1]

    yield run
    for stack in started:
        stack.stop()


def refusal(folder: Path, *processes: dict[str, Any], options: tuple[str, ...] = (), **ports: int) -> str:
    """What the runner says on standard error; what it may have started has ended by then."""
    file = write_file(folder, *processes, **ports)
    command = [sys.executable, "-m", "deploy.stack", "--folder", str(folder / "stack"), "--file", str(file), *options]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    assert result.returncode == 1, result.stdout + result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert not any(is_running(int(pid)) for pid in re.findall(r"is process (\d+)", result.stdout))
    return result.stderr


def test_processes_start_after_those_they_need_and_stop_from_the_last_to_the_first(start: Start) -> None:
    task = {"name": "task", "kind": "task", "command": python("print('done')"), "after": ["first"]}
    stack = start(service("first"), task, service("probe", PROBE, after=["task"]))
    assert httpx.get(f"{stack.url}/readyz").status_code == 200
    assert stack.stop() == 0
    events = re.findall(r"^(\w+) +\| (is process|ready|done|was ended)", stack.output, re.MULTILINE)
    assert events == [
        *[("first", "is process"), ("first", "ready"), ("task", "is process"), ("task", "done")],
        *[("probe", "is process"), ("probe", "ready"), ("probe", "was ended"), ("first", "was ended")],
    ]
    assert stack.said("stack")[-1] == "has stopped"


def test_what_is_killed_is_started_again_and_what_it_had_started_is_ended(start: Start) -> None:
    child = "import subprocess, time; print('child', subprocess.Popen(['sleep', '600']).pid, flush=True); "
    parent = python(f"{child} print('ready', flush=True); time.sleep(600)")
    stack = start(service("parent", parent), service("probe", PROBE))
    (first_child,) = [int(line.split()[1]) for line in stack.said("parent") if line.startswith("child")]
    stack.send("parent", signal.SIGKILL)
    stack.until(lambda: stack.starts("parent", ready="ready") == 2, what="second start")
    assert not is_running(first_child)
    assert "was ended by SIGKILL; started again in 0.4 s" in stack.said("parent")


def test_a_process_that_does_not_end_is_killed(start: Start) -> None:
    stack = start(service("stubborn", STUBBORN, patience=0.2), service("probe", PROBE))
    assert stack.stop() == 0
    assert "does not end within 0.2 s and is killed" in stack.said("stubborn")


def test_nothing_outlives_a_runner_that_is_killed(start: Start, wait_until: Callable[..., None]) -> None:
    stack = start(service("first"), service("probe", PROBE))
    stack.process.kill()
    stack.process.wait()
    wait_until(lambda: not any(is_running(pid) for pid in stack.pids()), what="the end of all")


def test_a_second_stack_in_the_same_folder_is_refused(start: Start, folder: Path) -> None:
    start(service("probe", PROBE))
    assert "runs in" in refusal(folder, service("probe", PROBE))


def test_a_service_that_ends_before_it_is_ready_ends_the_start(folder: Path) -> None:
    wrong = service("wrong", python("import sys; sys.exit('it has no heart')"), after=["first"])
    assert "wrong ended with code 1: it has no heart" in refusal(folder, service("first"), wrong)


def test_a_task_that_fails_ends_the_start(folder: Path) -> None:
    task = {"name": "task", "kind": "task", "command": python("import sys; sys.exit('nothing to do')")}
    assert "task ended with code 1: nothing to do" in refusal(folder, task)


def test_a_missing_program_is_named_with_its_package_and_nothing_is_started(folder: Path) -> None:
    error = refusal(folder, service("first"), service("web", ["no-such-server"], package="no-such-package"))
    assert "web needs no-such-server, which is not installed; on Debian: apt-get install no-such-package" in error


def test_a_port_in_use_is_named_with_the_option_that_changes_it(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = refusal(folder, service("probe", PROBE), options=("--port", f"public={port}"))
    assert f"port {port} is in use; choose another with --port public=NUMBER" in error


@pytest.mark.parametrize(
    ("process", "options", "complaint"),
    [
        (service("a", after=["b"]), (), "a comes after b, which does not stand above it"),
        (service("a", ["{{ ports.none }}"]), (), "has no attribute 'none'"),
        (service("a", kind="servant"), (), "process.0.kind"),
        (service("a"), ("--port", "private=1"), "has no port 'private'"),
        (service("a"), ("--port", "8080"), "write NAME=VALUE"),
    ],
)
def test_a_wrong_file_or_option_is_one_line(
    process: dict[str, Any], options: tuple[str, ...], complaint: str, folder: Path
) -> None:
    assert complaint in refusal(folder, process, options=options)
