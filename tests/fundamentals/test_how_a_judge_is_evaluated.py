"""A judge is good when it agrees with people. How good, and under which rubric set, is measured on labelled pairs.

Read this file from top to bottom; every line runs against a real service, whose judge is the built-in pixel judge.
"""

import io
from typing import Any

import pytest
from PIL import Image, ImageDraw

from reward_client import RewardClient
from shared_schemas.evaluations import EvaluationReport, EvaluationRequest
from shared_schemas.jobs import JobState
from shared_schemas.rubrics import Criterion, RubricContent, Task

COLOURS = {"red": (220, 40, 40), "green": (40, 160, 60), "blue": (35, 85, 220), "yellow": (240, 205, 45)}


def circle(colour: str, *, paper: int) -> bytes:
    """A PNG of a circle."""
    image = Image.new("RGB", (48, 48), (paper, paper, paper))
    ImageDraw.Draw(image).ellipse((12, 12, 36, 36), fill=COLOURS[colour])
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()


def labelled_pairs() -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """Twelve pairs: a circle in the colour that was asked for, on dark paper, against another one on light paper."""
    rows = []
    images: dict[str, bytes] = {}
    for right in COLOURS:
        for wrong in COLOURS.keys() - {right}:
            names = [f"{right}-dark.png", f"{wrong}-light.png"]
            images |= {names[0]: circle(right, paper=180), names[1]: circle(wrong, paper=250)}
            rows.append({"prompt": f"a {right} circle", "images": names, "rank": [1, 2]})
    return rows, images


def test_how_a_judge_is_evaluated(service_url: str) -> None:
    colour = Criterion(id="colour", theme="Colour", tips=("The object has the colour that the prompt names.",))
    light = Criterion(id="light", theme="Light", tips=("The image is bright.",))
    rows, images = labelled_pairs()
    with RewardClient(service_url) as client:
        client.publish_rubric("lesson-judged", RubricContent(task=Task.T2I, criteria=(light,)))
        client.publish_rubric("lesson-judged", RubricContent(task=Task.T2I, criteria=(colour, light)))
        dataset = client.upload_dataset(rows, images)

        # Two versions on the same pairs. The judge without rubrics is always measured, too.
        request = EvaluationRequest(
            dataset=dataset.id, rubrics=("lesson-judged@1", "lesson-judged@2"), agreement=True, calibrate=True
        )
        job = client.wait_for_job(client.evaluate(request).id)
        assert job.state is JobState.SUCCEEDED, job.error
        only_light, both, none = EvaluationReport.model_validate(job.result).rubrics
        assert [report.rubric.version for report in (only_light, both, none)] == [1, 2, None]

        # People want the colour, here on the darker paper. A judge of light never agrees with them; nor does this
        # judge without rubrics, which likes light and contrast: a taste of its own, not a coin.
        assert both.accuracy.value == 1.0
        assert only_light.accuracy.value == 0.0
        assert none.accuracy.value < 0.5

        # Accuracy is that of both orders together. Each order alone is told, too: where they differ, the judge has a
        # habit, such as naming the first image. This one has none.
        assert both.position_gap == 0.0
        assert both.first_share is not None
        assert both.first_share.value == pytest.approx(0.5)
        assert both.consistency is not None
        assert both.consistency.value == 1.0

        # Every criterion is asked alone, too: does it tell the better image from the other one?
        by_id = {criterion.id: criterion.auc.value for criterion in both.criteria}
        assert by_id["colour"] > 0.9
        assert by_id["light"] < 0.1

        # Few pairs leave much to chance: every number says how sure it is. Is the set better than no set at all? The
        # p-value says how often luck alone would look like this.
        assert both.accuracy.low < 0.6 < both.accuracy.value  # four prompts, all right: not yet certain
        assert both.p_value is not None
        assert both.p_value < 0.1

        # Judging everything a second time shows how much the judge agrees with itself.
        assert both.kappa_runs == pytest.approx(1.0)
        assert both.noise_floor == pytest.approx(0.0)

        # Afterwards the versions carry their figures, and how this judge's margins are to be read.
        version = client.get_rubric("lesson-judged", 2)
        assert version.metrics is not None
        assert (version.metrics.accuracy, version.metrics.num_pairs) == (1.0, len(rows))
        assert version.calibration
