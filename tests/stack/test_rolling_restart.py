"""Replicas that are restarted, killed or told to stop while others ask them: what a client sees of it.

With `RELIABILITY_SCALE=5` there are twenty restarts instead of four.
"""

import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from reward_client import CandidateGroup, RewardClient, RewardResult
from reward_client.retries import RetryPolicy
from shared_schemas.problems import Problem
from shared_schemas.rubrics import Criterion, RubricContent
from tests.reliability.processes import Process, processes
from tests.stack.running_stack import RunningStack

BRIGHTNESS = RubricContent(
    task="t2i", criteria=(Criterion(id="brightness", theme="Brightness", tips=("The image is bright.",)),)
)

NUM_CLIENTS = 3


def grey(level: int, number: int) -> NDArray[np.uint8]:
    """A picture of its own: what is asked is never remembered."""
    picture = np.full((32, 32, 3), level, dtype=np.uint8)
    picture[0, 0] = (number % 256, number // 256 % 256, level)
    return picture


def groups(number: int) -> list[CandidateGroup]:
    """Four pairs of a dark and a bright picture; the second is brighter."""
    return [
        CandidateGroup(f"picture {number}", (grey(40, 4 * number + index), grey(200, 4 * number + index)))
        for index in range(4)
    ]


class Load:
    """Clients that ask one request after the other, and what they got."""

    def __init__(self, url: str, *, retries: RetryPolicy) -> None:
        self.answered = 0
        self.failures: Counter[str] = Counter()
        self._client = RewardClient(url, retries=retries)
        self._numbers = count()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(NUM_CLIENTS)]

    @contextmanager
    def running(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join()
            self._client.close()

    def until_answered(self, num: int, stack: RunningStack) -> None:
        """Wait for so many more answers."""
        enough = self.answered + num
        stack.until(lambda: self.answered >= enough, what="answers")

    def _ask(self) -> None:
        while not self._over.is_set():
            number = next(self._numbers)
            try:
                self._check(self._client.reward(groups(number), rubric=BRIGHTNESS))
            except Exception as error:  # noqa: BLE001 - all that a client can see is counted
                self.failures[f"{type(error).__name__}: {error}"] += 1
            self.answered += 1

    def _check(self, result: RewardResult) -> None:
        for group in result.results:
            if group.ranks != (2, 1):
                self.failures[f"{group.status}, ranks {group.ranks}, {group.error}"] += 1


def restart(stack: RunningStack, name: str, number: signal.Signals) -> None:
    """End a replica and wait until it answers again."""
    times = stack.starts(name, ready="answers at")
    stack.send(name, number)
    stack.until(lambda: stack.starts(name, ready="answers at") == times + 1, what=f"new {name}")


def test_a_rolling_restart_under_load_is_seen_by_nobody(
    stack: RunningStack, scale: int, measured: dict[str, Any]
) -> None:
    num_restarts = 4 * scale
    load = Load(stack.url, retries=RetryPolicy())
    with load.running():
        for turn in range(num_restarts):
            restart(stack, f"api-{1 + turn % 2}", signal.SIGTERM)
            load.until_answered(NUM_CLIENTS + 1, stack)
    measured.update(restarts=num_restarts, requests=load.answered, failures=dict(load.failures))
    assert load.failures == Counter()


def test_a_killed_replica_is_seen_by_nobody_not_even_without_retries(stack: RunningStack) -> None:
    load = Load(stack.url, retries=RetryPolicy(attempts=1))  # nginx asks the other one
    with load.running():
        load.until_answered(NUM_CLIENTS + 1, stack)
        restart(stack, "api-1", signal.SIGKILL)
    assert load.failures == Counter()


def test_what_nginx_itself_refuses_is_a_problem_document(stack: RunningStack) -> None:
    connection = HTTPConnection(stack.url.removeprefix("http://"), timeout=60)
    connection.request("POST", "/reward", headers={"Content-Length": str(300 * 1024 * 1024)})  # announced, never sent
    answer = connection.getresponse()
    problem = Problem.model_validate_json(answer.read())
    connection.close()
    assert answer.getheader("Content-Type") == "application/problem+json"
    assert (answer.status, problem.status, problem.slug) == (413, 413, "body-too-large")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    with processes(tmp_path) as started:

        def run(*arguments: str, **environment: str) -> Process:
            started.append(Process(tmp_path, *arguments, **environment))
            return started[-1]

        yield run


def test_sigterm_unreadies_drains_and_ends(start: Callable[..., Process], wait_until: Callable[..., None]) -> None:
    judge = start("pixel-judge", "--port", "0", "--latency-ms", "300")
    service = start("serve", "--port", "0", "--judge-url", f"{judge.url}/v1", ARR_DRAIN_SECONDS="3")
    answers: list[RewardResult] = []
    with RewardClient(service.url, retries=RetryPolicy(attempts=1)) as client:
        asking = threading.Thread(target=lambda: answers.append(client.reward(groups(0), rubric=BRIGHTNESS)))
        service.send(signal.SIGTERM)
        wait_until(lambda: httpx.get(f"{service.url}/readyz").status_code == 503, what="503 from /readyz")
        assert httpx.get(f"{service.url}/readyz").json()["parts"]["service"] == "is stopping"
        asking.start()  # what comes while it drains is answered, however long that takes
        assert service.wait() == 0
        asking.join()
    assert [group.ranks for group in answers[0].results] == [(2, 1)] * 4
