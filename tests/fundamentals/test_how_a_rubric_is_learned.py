"""A rubric set is learned from labelled pairs: images that people have compared. Nobody writes a criterion.

Read this file from top to bottom; every line runs against a real service, whose judge is the built-in pixel judge.
"""

import io
from itertools import product
from typing import Any

from PIL import Image, ImageDraw

from reward_client import RewardClient
from shared_schemas.evaluations import Fractions
from shared_schemas.jobs import JobState
from shared_schemas.learning import ArrParameters, LearnRequest, LearnResult
from shared_schemas.rubrics import Task

COLOURS = {
    "red": (220, 40, 40), "orange": (240, 140, 30), "yellow": (240, 205, 45), "green": (40, 160, 60),
    "blue": (35, 85, 220), "purple": (150, 55, 185), "pink": (245, 150, 190), "brown": (125, 75, 40),
}  # fmt: skip
SHAPES = ("circle", "square", "triangle")


def drawing(colour: str, shape: str, *, paper: int) -> bytes:
    """A PNG of one shape."""
    image = Image.new("RGB", (48, 48), (paper, paper, paper))
    draw = ImageDraw.Draw(image)
    match shape:
        case "circle":
            draw.ellipse((12, 12, 36, 36), fill=COLOURS[colour])
        case "square":
            draw.rectangle((13, 13, 35, 35), fill=COLOURS[colour])
        case "triangle":
            draw.polygon([(24, 10), (38, 36), (10, 36)], fill=COLOURS[colour])
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()


def labelled_pairs() -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """For each of 24 captions, a drawing as it says and one in another colour; every second one on darker paper."""
    rows: list[dict[str, Any]] = []
    images: dict[str, bytes] = {}
    colours = list(COLOURS)
    for number, (colour, shape) in enumerate(product(COLOURS, SHAPES)):
        other = colours[(colours.index(colour) + 3) % len(colours)]
        papers = (250, 200) if number % 2 == 0 else (200, 250)
        names = [f"{number}-left.png", f"{number}-right.png"]
        pair = [drawing(colour, shape, paper=papers[0]), drawing(other, shape, paper=papers[1])]
        # The better one is shown on the left and on the right equally often: rank 1 is the better, 2 the worse.
        ranks = [1, 2]
        if number % 4 >= 2:
            pair.reverse()
            ranks.reverse()
        images |= dict(zip(names, pair, strict=True))
        rows.append({"prompt": f"a {colour} {shape}", "images": names, "rank": ranks})
    return rows, images


def test_how_a_rubric_is_learned(service_url: str) -> None:
    rows, images = labelled_pairs()
    with RewardClient(service_url) as client:
        # Labelled pairs are stored once, by what they say: sent again, they are the same dataset.
        dataset = client.upload_dataset(rows, images)
        assert (dataset.num_rows, dataset.task) == (24, Task.T2I)
        assert client.upload_dataset(rows, images).id == dataset.id

        # Learning takes a while, so it is a job. Half of the pairs are kept for measuring what was learned: they are
        # about other prompts than those that it is learned from.
        parameters = ArrParameters(
            task_description="Coloured shapes on plain paper.",
            criteria_per_pair=3,
            fractions=Fractions(train=0.3, validation=0.2, test=0.5),
        )
        request = LearnRequest(dataset=dataset.id, parameters=parameters, alias="production")
        job = client.wait_for_job(client.learn("lesson-learned", request).id)
        assert job.state is JobState.SUCCEEDED, job.error
        result = LearnResult.model_validate(job.result)

        # For every training pair, a model that is told the label proposed criteria that explain it. A judge that is NOT
        # told the label then had to come to the same opinion by these criteria, on this pair and on others, in both
        # orders. What failed was revised, and what failed again was thrown away.
        proposals = result.proposals
        verified = proposals.verified_at_once + proposals.verified_after_revision
        assert proposals.proposed == verified + proposals.discarded
        assert verified > 0

        # The set is published only because it beats the judge without rubrics on the pairs that were kept apart, by
        # more than luck would explain.
        assert result.report is not None
        learned, none = result.report.rubrics
        assert learned.accuracy.value >= none.accuracy.value + 0.2
        assert result.better_than_none
        assert result.p_value is not None
        assert result.p_value < parameters.significance

        # It is a version like any other, with readable criteria, and it knows where it comes from.
        version = client.get_rubric("lesson-learned", 1)
        text = " ".join(part for criterion in version.content.criteria for part in (criterion.theme, *criterion.tips))
        assert "colour" in text.lower()
        assert version.provenance["method"] == "arr"
        assert version.metrics is not None
        assert version.metrics.accuracy == learned.accuracy.value
        assert client.resolve_rubric("lesson-learned@production").digest == version.digest

        # Equal pairs, parameters and seeds give equal sets. All answers are remembered, so nothing is asked again.
        again = client.wait_for_job(client.learn("lesson-learned", request).id)
        assert again.judge_calls == 0
        assert LearnResult.model_validate(again.result).rubric == result.rubric


def test_labels_without_meaning_teach_nothing(service_url: str) -> None:
    rows, images = labelled_pairs()
    for number, row in enumerate(rows):
        row["rank"] = [1, 2] if number % 3 else [2, 1]  # whatever the images show
    with RewardClient(service_url) as client:
        dataset = client.upload_dataset(rows, images)
        job = client.wait_for_job(client.learn("lesson-noise", LearnRequest(dataset=dataset.id)).id)

        # The job has failed, says why, and carries the evidence. Nothing was published.
        assert job.state is JobState.FAILED
        assert job.reason == "no-better-than-none"
        assert LearnResult.model_validate(job.result).rubric is None
        assert "lesson-noise" not in {summary.name for summary in client.list_rubrics()}
