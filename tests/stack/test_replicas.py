"""Two replicas of the service and two workers on one PostgreSQL, asked at the same time."""

from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice

import pytest

from reward_client import RequestRejected, RewardClient
from shared_schemas.rubrics import Criterion, RubricContent
from tests.stack.running_stack import RunningStack

NUM_PUBLISHERS = 50
NUM_MOVES = 12


def content(number: int) -> RubricContent:
    return RubricContent(task="t2i", criteria=(Criterion(id=f"c{number}", theme=f"Theme {number}"),))


@pytest.fixture
def replicas(stack: RunningStack) -> tuple[str, str]:
    """Where each replica answers, without nginx."""
    return stack.url_of("api-1"), stack.url_of("api-2")


def test_fifty_publishers_at_once_on_two_replicas_get_versions_without_gaps(replicas: tuple[str, str]) -> None:
    with RewardClient(replicas[0]) as first, RewardClient(replicas[1]) as second:
        clients = [*islice(cycle([first, second]), NUM_PUBLISHERS)]
        with ThreadPoolExecutor(NUM_PUBLISHERS) as pool:
            published = pool.map(
                lambda number: clients[number].publish_rubric("dense", content(number)), range(NUM_PUBLISHERS)
            )
            versions = {version.version: version.digest for version in published}
        assert sorted(versions) == list(range(1, NUM_PUBLISHERS + 1))
        stored = {version.version: version.digest for version in second.list_rubric_versions("dense")}
        assert stored == versions


def test_moves_of_an_alias_over_two_replicas_come_one_after_the_other(replicas: tuple[str, str]) -> None:
    with RewardClient(replicas[0]) as first, RewardClient(replicas[1]) as second:
        for number in range(NUM_MOVES + 1):
            first.publish_rubric("moving", content(number))
        first.set_alias("moving", "production", 1)
        refusals: set[str] = set()

        def move(client: RewardClient) -> list[int]:
            """Move it up by one until it is at the end; the versions that this client moved it to."""
            done = []
            while (now := client.resolve_rubric("moving@production").version or 0) <= NUM_MOVES:
                try:
                    done.append(client.set_alias("moving", "production", now + 1, expected=now).version)
                except RequestRejected as error:  # somebody else was quicker
                    refusals.add(error.problem.slug)
                else:  # what was written is seen through the other replica at once
                    assert (second.resolve_rubric("moving@production").version or 0) >= now + 1
            return done

        with ThreadPoolExecutor(6) as pool:
            moves = [version for done in pool.map(move, islice(cycle([first, second]), 6)) for version in done]
    assert refusals <= {"alias-changed"}
    assert sorted(moves) == list(range(2, NUM_MOVES + 2))  # each exactly once
