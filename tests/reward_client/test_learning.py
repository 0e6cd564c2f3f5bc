"""Learning, evaluating, comparing and archiving through both clients. Without a worker, jobs stay queued."""

import io

import pytest
from PIL import Image

from reward_client import AsyncRewardClient, RequestRejected, RewardClient
from shared_schemas.evaluations import EvaluationRequest
from shared_schemas.jobs import JobState
from shared_schemas.learning import ArrParameters, LearnRequest
from shared_schemas.rubrics import Change, Criterion, RubricContent

ROWS = [{"prompt": "a red square", "images": ["a.png", "b.png"], "rank": [1, 2]}]


def picture(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, format="PNG")
    return buffer.getvalue()


IMAGES = {"a.png": picture("red"), "b.png": picture("blue")}


def other(content: RubricContent, number: int) -> RubricContent:
    return content.model_copy(update={"criteria": (Criterion(id="colour", theme=f"colour {number}"),)})


def learn_request(dataset: int) -> LearnRequest:
    return LearnRequest(dataset=dataset, parameters=ArrParameters(max_themes=2), seed=5, alias="production")


def test_learning_and_evaluating_are_jobs(client: RewardClient) -> None:
    dataset = client.upload_dataset(ROWS, IMAGES)
    request = learn_request(dataset.id)
    learning = client.learn("colours", request)
    assert (learning.kind, learning.seed, learning.state) == ("learn", 5, JobState.QUEUED)
    assert client.learn("colours", request) == learning
    parameters = {key: value for key, value in learning.parameters.items() if key != "name"}
    assert LearnRequest.model_validate(parameters | {"seed": 5}) == request
    evaluation = client.evaluate(EvaluationRequest(dataset=dataset.id, rubrics=("colours",), seed=6))
    assert (evaluation.kind, evaluation.seed, evaluation.parameters["rubrics"]) == ("evaluate", 6, ["colours@1"])
    assert [job.id for job in client.jobs()] == [evaluation.id, learning.id]


def test_what_is_wrong_with_the_request_is_a_refusal(client: RewardClient) -> None:
    with pytest.raises(RequestRejected) as caught:
        client.learn("colours", learn_request(99))
    assert caught.value.problem.slug == "unknown-dataset"
    dataset = client.upload_dataset(ROWS, IMAGES)
    with pytest.raises(RequestRejected) as caught:
        client.evaluate(EvaluationRequest(dataset=dataset.id, rubrics=("nowhere",)))
    assert caught.value.problem.slug == "unknown-rubric"


def test_versions_are_compared(client: RewardClient, content: RubricContent) -> None:
    client.publish_rubric("colours", other(content, 2))
    diff = client.diff_rubric("colours", 1, 2)
    assert (diff.before, diff.after, [change.change for change in diff.criteria]) == (1, 2, [Change.CHANGED])


def test_versions_are_archived_and_taken_out_again(client: RewardClient, content: RubricContent) -> None:
    client.publish_rubric("colours", other(content, 2))
    assert client.archive_rubric("colours", 2).archived
    assert client.resolve_rubric("colours").version == 1
    assert [version.version for version in client.list_rubric_versions("colours")] == [1]
    assert [version.version for version in client.list_rubric_versions("colours", archived=True)] == [2, 1]
    assert not client.archive_rubric("colours", 2, archived=False).archived
    assert client.resolve_rubric("colours").version == 2
    client.set_alias("colours", "production", 2)
    with pytest.raises(RequestRejected) as caught:
        client.archive_rubric("colours", 2)
    assert caught.value.problem.slug == "archived-alias"


def test_sets_of_archived_versions_are_listed_on_request(client: RewardClient) -> None:
    client.archive_rubric("colours", 1)
    assert list(client.list_rubrics()) == []
    assert [(summary.name, summary.archived) for summary in client.list_rubrics(archived=True)] == [("colours", True)]


def test_all_versions_are_listed_over_several_pages(client: RewardClient, content: RubricContent) -> None:
    for number in range(2, 54):
        client.publish_rubric("colours", other(content, number))
    assert [version.version for version in client.list_rubric_versions("colours")] == list(range(53, 0, -1))


async def test_the_asyncio_client_does_the_same(async_client: AsyncRewardClient, content: RubricContent) -> None:
    dataset = await async_client.upload_dataset(ROWS, IMAGES)
    learning = await async_client.learn("colours", learn_request(dataset.id))
    evaluation = await async_client.evaluate(EvaluationRequest(dataset=dataset.id, rubrics=("colours",)))
    assert (learning.kind, evaluation.kind) == ("learn", "evaluate")
    await async_client.publish_rubric("colours", other(content, 2))
    assert len((await async_client.diff_rubric("colours", 1, 2)).criteria) == 1
    assert (await async_client.archive_rubric("colours", 2)).archived
    assert [version.version async for version in async_client.list_rubric_versions("colours")] == [1]
    listed = [version.version async for version in async_client.list_rubric_versions("colours", archived=True)]
    assert listed == [2, 1]
    assert not (await async_client.archive_rubric("colours", 2, archived=False)).archived
    await async_client.archive_rubric("colours", 1)
    await async_client.archive_rubric("colours", 2)
    assert [summary.name async for summary in async_client.list_rubrics()] == []
    assert [summary.name async for summary in async_client.list_rubrics(archived=True)] == ["colours"]
