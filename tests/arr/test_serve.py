"""`arr serve` and `arr pixel-judge` as real processes."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from services.storage.database import Database
from services.storage.jobs import JobRepository
from shared_schemas.jobs import Job

ANNOUNCEMENT = re.compile(r"answers at (http://\S+)")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., tuple["subprocess.Popen[str]", str]]]:
    """`start("serve", …)` runs a command that serves, and returns its process and the URL that it announces."""
    processes = []

    def run(*arguments: str, **environment: str) -> tuple["subprocess.Popen[str]", str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "arr.main", *arguments],
            stderr=subprocess.PIPE,
            text=True,
            env=clean_environment(**environment),
            cwd=tmp_path,
        )
        processes.append(process)
        assert process.stderr is not None
        log = []
        for line in process.stderr:  # ends with the process, so this cannot wait for ever
            log.append(line)
            if match := ANNOUNCEMENT.search(line):
                return process, match[1]
        pytest.fail(f"arr {' '.join(arguments)} announced nothing:\n{''.join(log)}")

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def clean_environment(**extra: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ARR_")}
    root = Path(__file__).parents[2]
    return {**inherited, "PYTHONPATH": str(root), "PYTHONUNBUFFERED": "1", **extra}


def refused(*arguments: str, cwd: Path, **environment: str) -> str:
    """Standard error of a command that must end at once with a usage error."""
    result = subprocess.run(
        [sys.executable, "-m", "arr.main", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=clean_environment(**environment),
        cwd=cwd,
        check=False,
    )
    assert result.returncode == 2, result.stderr
    return result.stderr


def test_a_service_announces_its_address_once_it_answers_and_stops_in_order(
    start: Callable[..., tuple["subprocess.Popen[str]", str]], tmp_path: Path
) -> None:
    process, url = start("serve", "--port", "0", "--data-dir", str(tmp_path / "data"))
    ready = httpx.get(f"{url}/readyz")
    assert ready.status_code == 200
    assert ready.json()["pixel_judge"] is True
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 0


def test_somebody_who_follows_a_job_does_not_hold_up_the_end(
    start: Callable[..., tuple["subprocess.Popen[str]", str]], tmp_path: Path
) -> None:
    process, url = start("serve", "--port", "0", "--data-dir", str(tmp_path / "data"), ARR_WORKER="none")
    job = asyncio.run(queue_a_job(tmp_path / "data"))
    with httpx.stream("GET", f"{url}/jobs/{job.id}/events", timeout=60) as answer:
        chunks = answer.iter_text()
        assert "event: job" in next(chunks)
        process.send_signal(signal.SIGINT)
        assert "".join(chunks) == ""  # ends in order: a connection that is cut raises
    assert process.wait(timeout=20) == 0


async def queue_a_job(data_dir: Path) -> Job:
    database = await Database.open(f"sqlite+aiosqlite:///{data_dir / 'arr.db'}")
    job, _ = await JobRepository(database).create("unknown", tenant="local", parameters={})
    await database.close()
    return job


def test_rubrics_survive_a_restart(start: Callable[..., tuple["subprocess.Popen[str]", str]], tmp_path: Path) -> None:
    arguments = ("serve", "--port", "0", "--data-dir", str(tmp_path / "data"))
    process, url = start(*arguments)
    body = {"content": {"task": "t2i", "criteria": [{"id": "colour", "theme": "Colour"}]}}
    digest = httpx.post(f"{url}/rubrics/kept/versions", json=body).json()["digest"]
    process.terminate()
    process.wait(timeout=20)
    _, url = start(*arguments)
    assert httpx.get(f"{url}/rubrics/kept/versions/1").json()["digest"] == digest


def test_a_service_judges_through_a_pixel_judge_in_another_process(
    start: Callable[..., tuple["subprocess.Popen[str]", str]],
) -> None:
    _, judge_url = start("pixel-judge", "--port", "0")
    models = httpx.get(f"{judge_url}/v1/models").json()
    _, url = start("serve", "--port", "0", "--judge-url", f"{judge_url}/v1")
    ready = httpx.get(f"{url}/readyz").json()
    assert ready["judge"]["model"] == models["data"][0]["id"]


def test_a_pixel_judge_takes_its_settings_from_options_over_the_environment(
    start: Callable[..., tuple["subprocess.Popen[str]", str]],
) -> None:
    options = ("--model", "mine", "--no-log-probs", "--capacity", "1", "--overflow", "refuse", "--latency-ms", "1")
    _, url = start("pixel-judge", "--port", "0", *options, ARR_PIXEL_JUDGE_MODEL="theirs")
    assert httpx.get(f"{url}/v1/models").json()["data"][0]["id"] == "mine"
    assert 'model_name="mine"' in httpx.get(f"{url}/metrics").text
    request = {"model": "mine", "messages": [{"role": "user", "content": "which?"}], "logprobs": True}
    refused = httpx.post(f"{url}/v1/chat/completions", json=request)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "logprobs")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--overflow", "drop"), "ARR_PIXEL_JUDGE_OVERFLOW: "),
        (("--error-rate", "0.6", "--stall-rate", "0.6"), "ARR_PIXEL_JUDGE: the rates of errors, stalls, "),
        (("--malformed-rate", "0.6", "--drop-rate", "0.6"), "ARR_PIXEL_JUDGE: the rates of errors, stalls, "),
    ],
)
def test_options_that_make_no_pixel_judge_are_one_line(
    options: tuple[str, ...], complaint: str, tmp_path: Path
) -> None:
    error = refused("pixel-judge", *options, cwd=tmp_path)
    assert error.startswith(f"error: {complaint}")
    assert error.count("\n") == 1


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        error = refused("serve", "--port", str(taken.getsockname()[1]), cwd=tmp_path)
    assert "cannot listen on 127.0.0.1:" in error
    assert error.count("\n") == 1


def test_an_address_that_others_can_reach_is_refused(tmp_path: Path) -> None:
    error = refused("serve", "--host", "0.0.0.0", cwd=tmp_path)
    assert "ARR_HOST" in error
    assert "loopback" in error
    assert error.count("\n") == 1


def test_a_wrong_setting_is_one_line_that_names_the_variable(tmp_path: Path) -> None:
    error = refused("serve", cwd=tmp_path, ARR_TIE_MARGIN="wide")
    assert "ARR_TIE_MARGIN" in error
    assert error.count("\n") == 1


def test_a_wrong_setting_of_the_pixel_judge_is_one_line_that_names_the_variable(tmp_path: Path) -> None:
    error = refused("pixel-judge", cwd=tmp_path, ARR_PIXEL_JUDGE_LABEL_MASS="2")
    assert "ARR_PIXEL_JUDGE_LABEL_MASS" in error
    assert error.count("\n") == 1


def test_a_data_dir_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "--data-dir" in refused("serve", "--data-dir", "file", cwd=tmp_path)
