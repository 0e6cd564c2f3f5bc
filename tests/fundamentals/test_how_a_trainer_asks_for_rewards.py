"""A trainer sends a prompt with two candidates, and gets a reward for each, or none, with the reason.

Read this file from top to bottom; every line runs against a real service with its built-in pixel judge.
"""

import math

from PIL import Image, ImageDraw

from reward_client import CandidateGroup, RewardClient
from shared_schemas.reward import RewardScheme, Status
from shared_schemas.rubrics import Criterion, RubricContent, Task


def picture(colour: str) -> Image.Image:
    image = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(image).rectangle((16, 16, 48, 48), fill=colour)
    return image


def test_how_a_trainer_asks_for_rewards(service_url: str) -> None:
    red, blue = picture("red"), picture("blue")
    content = RubricContent(
        task=Task.T2I, criteria=(Criterion(id="colour", theme="The colour named in the prompt matches the image"),)
    )

    with RewardClient(service_url) as client:
        client.publish_rubric("shapes-lesson", content)

        # A run pins its rubric once; who judges is in every answer.
        rubric = client.resolve_rubric("shapes-lesson")
        assert client.readiness().pixel_judge

        # One request holds many groups. A picture that is used twice is sent once.
        result = client.reward(
            [
                CandidateGroup("a red square", [red, blue]),
                CandidateGroup("a blue square", [red, blue]),
                CandidateGroup("a red square", [red, red.copy()]),
            ],
            rubric=rubric,
            reward=RewardScheme(preferred=1.0, dispreferred=-1.0),
        )

        # Only groups with a winner have numbers. A tie has none: never 0, never a coin's.
        assert [item.status for item in result.results] == [Status.SCORED, Status.SCORED, Status.TIED]
        assert result.rewards[0].tolist() == [1.0, -1.0]
        assert result.rewards[1].tolist() == [-1.0, 1.0]
        assert all(math.isnan(reward) for reward in result.rewards[2])

        # The verdict behind a reward: each pair was shown in both orders, so that a judge's fondness for one place
        # cancels. The margin is in nats; positive means that the first candidate is the better one.
        [verdict] = result.results[0].pairs
        assert verdict.margin is not None  # None only from a judge without log-probabilities
        assert verdict.margin > 0
        assert verdict.p_first is not None
        assert verdict.p_first > 0.5
        assert verdict.consistent

        # The service remembers verdicts. The same question costs no judge call, also after a restart.
        again = client.reward([CandidateGroup("a red square", [red, blue])], rubric=rubric)
        assert again.response.usage.judge_calls == 0
        assert again.results[0].pairs[0].margin == verdict.margin
