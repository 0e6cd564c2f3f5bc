"""Both clients against the real service: the blocking one over a socket, the asyncio one in process."""

import asyncio
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from reward_client import CandidateGroup, RequestRejected
from shared_schemas.reward import CachePolicy, RewardScheme, Run
from shared_schemas.rubrics import Criterion, Mode, RubricContent, RubricIdentity, Task


def square(colour: str) -> Image.Image:
    image = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(image).rectangle((16, 16, 48, 48), fill=colour)
    return image


@pytest.fixture
def groups() -> list[CandidateGroup]:
    red, blue = square("red"), square("blue")
    return [
        CandidateGroup("a red square", [red, blue]),
        CandidateGroup("a blue square", [red, blue], id="second"),
        CandidateGroup("a red square", [red, red]),
    ]


def test_rewards_come_back_as_one_array_with_nan_for_ties(client, groups) -> None:
    result = client.reward(groups, rubric="colours")
    assert [item.id for item in result.results] == ["g0", "second", "g2"]
    nan = float("nan")
    expected = np.array([[1.0, -0.1], [-0.1, 1.0], [nan, nan]], dtype=np.float32)
    np.testing.assert_array_equal(result.rewards, expected)
    assert result.rewards.dtype == np.float32
    assert (result.num_scored, result.num_tied, result.num_failed) == (2, 1, 0)


def test_the_tensor_holds_the_same_as_the_array(client, groups) -> None:
    result = client.reward(groups, rubric="colours")
    tensor = result.rewards_tensor()
    assert (tensor.dtype, tensor.device.type) == (torch.float32, "cpu")
    np.testing.assert_array_equal(tensor.numpy(), result.rewards)


def test_every_option_reaches_the_service(client, groups) -> None:
    scheme = RewardScheme(preferred=3.0, dispreferred=-1.0)
    result = client.reward(
        groups, rubric="colours", reward=scheme, run=Run(id="r", step=1), cache=CachePolicy.OFF, deadline_seconds=30
    )
    assert result.rewards[0].tolist() == [3.0, -1.0]
    assert client.reward(groups, rubric="colours", tie_margin=1000.0).num_tied == 3


async def test_the_asyncio_client_says_the_same_as_the_blocking_one(async_client, client, groups) -> None:
    blocking = await asyncio.to_thread(client.reward, groups, rubric="colours", cache=CachePolicy.OFF)
    result = await async_client.reward(groups, rubric="colours", cache=CachePolicy.OFF)
    assert result.results == blocking.results


async def test_many_requests_at_once_are_told_apart(async_client) -> None:
    colours = ["red", "blue", "green", "yellow"]
    results = await asyncio.gather(
        *(
            async_client.reward(
                [CandidateGroup(f"a {colour} square", [square("white"), square(colour)], id=colour)], rubric="colours"
            )
            for colour in colours
        )
    )
    assert [result.results[0].id for result in results] == colours
    assert [result.results[0].ranks for result in results] == [(2, 1)] * 4


def test_smaller_groups_are_padded_with_nan(client) -> None:
    red, blue, nothing = square("red"), square("blue"), square("white")
    groups = [CandidateGroup("a red square", [blue, red]), CandidateGroup("a red square", [nothing, red, blue])]
    result = client.reward(groups, rubric="colours")
    assert result.rewards.shape == (2, 3)
    assert result.rewards[0].tolist()[:2] == pytest.approx([-0.1, 1.0])
    assert np.isnan(result.rewards[0, 2])
    assert result.rewards[1].argmax() == 1


def test_a_rubric_set_that_is_published_nowhere_may_come_along(client, groups) -> None:
    content = RubricContent(task=Task.T2I, criteria=(Criterion(id="colour", theme="Another colour"),))
    judged_by = client.reward(groups, rubric=content).response.rubric
    assert judged_by == RubricIdentity(name=None, version=None, digest=content.digest)


def test_single_pictures_are_scored_criterion_by_criterion(client) -> None:
    groups = [CandidateGroup("a red square", [square("red")]), CandidateGroup("a red square", [square("blue")])]
    result = client.reward(groups, rubric="colours", mode=Mode.POINTWISE, per_criterion=True)
    red, blue = result.results
    assert red.scores is not None
    assert blue.scores is not None
    assert red.scores[0] > blue.scores[0]
    assert list(red.criteria[0].scores) == ["colour"]


def test_what_was_judged_can_be_read_again(client, groups, wait_until) -> None:
    client.reward(groups[:1], rubric="colours", run=Run(id="mine"))
    wait_until(lambda: list(client.judgements(run="mine")), what="the judgement, which is written behind")
    (judgement,) = client.judgements(run="mine", rubric="colours@1")
    assert (judgement.tenant, judgement.prompt) == ("local", "a red square")
    assert client.judgement(judgement.id).id == judgement.id
    assert list(client.judgements(run="others")) == []


def test_an_unknown_judgement_is_a_refusal(client) -> None:
    with pytest.raises(RequestRejected) as caught:
        client.judgement(1)
    assert caught.value.problem.slug == "unknown-judgement"


def test_references_are_pinned_to_what_they_name_now(client, content) -> None:
    client.publish_rubric("colours", RubricContent(task=Task.T2I, task_description="newer"))
    client.set_alias("colours", "production", 1)
    pinned = client.resolve_rubric("colours@production")
    assert pinned == RubricIdentity(name="colours", version=1, digest=content.digest)
    client.set_alias("colours", "production", 2)
    assert (
        client.reward([CandidateGroup("x", [square("red"), square("blue")])], rubric=pinned).response.rubric == pinned
    )
    assert [client.resolve_rubric(f"colours{suffix}").version for suffix in ("", "@1", "@v2", "@latest")] == [
        2,
        1,
        2,
        2,
    ]


def test_none_is_pinned_to_the_empty_set(client, groups) -> None:
    pinned = client.resolve_rubric("colours@none")
    assert pinned == RubricIdentity(name="colours", version=None, digest=RubricContent(task=Task.T2I).digest)
    assert client.reward(groups, rubric=pinned).response.rubric == pinned


async def test_the_asyncio_client_does_all_that_the_blocking_one_does(async_client, content) -> None:
    again = await async_client.publish_rubric("colours", content)
    assert (again.version, again.provenance) == (1, {"author": "test"})
    state = await async_client.set_alias("colours", "production", 1)
    assert (await async_client.set_alias("colours", "production", 1, expected=state.version)) == state
    assert (await async_client.resolve_rubric("colours@production")).digest == content.digest
    assert (await async_client.resolve_rubric("colours@none")).version is None
    assert (await async_client.get_rubric("colours", 1)).content == content
    assert [summary.name async for summary in async_client.list_rubrics()] == ["colours"]
    assert (await async_client.readiness()).pixel_judge


def test_an_alias_moves_only_from_where_it_is_expected(client, content) -> None:
    client.publish_rubric("colours", RubricContent(task=Task.T2I))
    client.set_alias("colours", "production", 1)
    with pytest.raises(RequestRejected) as caught:
        client.set_alias("colours", "production", 1, expected=2)
    assert caught.value.problem.slug == "alias-changed"
    assert client.set_alias("colours", "production", 2, expected=1).version == 2


def test_all_pages_are_listed(client, content) -> None:
    names = [f"set-{n:02}" for n in range(60)]
    for name in names:
        client.publish_rubric(name, content)
    assert [summary.name for summary in client.list_rubrics()] == ["colours", *names]


def test_readiness_says_who_judges(client) -> None:
    readiness = client.readiness()
    assert readiness.pixel_judge
    assert readiness.judge is not None
    assert readiness.judge.model == "pixel-judge"


@pytest.mark.parametrize("reference", ["missing", "colours@9", "colours@missing"])
def test_an_unknown_rubric_is_a_refusal(client, reference) -> None:
    with pytest.raises(RequestRejected) as caught:
        client.resolve_rubric(reference)
    assert caught.value.problem.slug == "unknown-rubric"


def test_a_refusal_says_which_part_is_at_fault(client, groups) -> None:
    broken = CandidateGroup("x", [b"\x89PNG\r\n\x1a\nbroken", square("red")])
    with pytest.raises(RequestRejected, match="422 invalid-image") as caught:
        client.reward([broken], rubric="colours")
    assert caught.value.problem.part == "i0"


def test_the_client_does_not_import_torch() -> None:
    code = "import sys, reward_client; print({'torch', 'services', 'fastapi'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
