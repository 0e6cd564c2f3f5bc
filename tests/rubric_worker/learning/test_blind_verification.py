"""Whoever verifies does not know what people said: no byte of what the judge is asked depends on the label."""

import hashlib
import json
from dataclasses import fields
from inspect import signature
from typing import Any, get_args

from services.judging.pixel_judge import PixelJudgeSettings, create_pixel_judge_app
from services.rubric_worker.methods.arr.labels import Shown
from services.rubric_worker.methods.arr.opinions import Opinions
from services.storage.splits import split
from shared_schemas.jobs import Job
from tests.rubric_worker.learning.workshop import FRACTIONS, Recorder, Workshop, answer_properties, rows_of_mistakes


def by_the_images_alone(body: dict[str, Any]) -> str | None:
    """Criteria of its own for every row, the same in every revision, whatever the label."""
    if "criteria" not in answer_properties(body):
        return None
    name = hashlib.sha256("".join(images(body)).encode()).hexdigest()[:8]
    statements = ["The object has the colour that was asked for", "The silhouette fits the requested form"]
    return json.dumps({"criteria": [{"theme": name, "statement": f"{text}, as in {name}."} for text in statements]})


def with_swapped_labels(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row | {"rank": row["rank"][::-1]} for row in rows]


async def learned_from(
    workshop: Workshop, rows: list[dict[str, Any]], *, scope: str, **options: Any
) -> tuple[Job, list[bytes]]:
    """The job, and every verdict on training prompts that was asked for; each `scope` remembers for itself."""
    app = Recorder(create_pixel_judge_app(PixelJudgeSettings()), answer=by_the_images_alone)
    judge = await workshop.judge(app)
    num_probes = len(app.bodies)
    dataset = await workshop.store(rows)
    stored = await workshop.datasets.rows(dataset.id)
    prompts = {row.prompt for row in split(stored, seed=0, fractions=FRACTIONS).train}
    kind = workshop.kind(judge, cache_scope=scope)
    job = await workshop.finish(await workshop.ask(dataset, structure=False, name=scope, **options), kind)
    verdicts = [body for body in app.bodies[num_probes:] if not answer_properties(json.loads(body))]
    return job, sorted(body for body in verdicts if any(f"\\n{prompt}\\n" in body.decode() for prompt in prompts))


async def test_the_judge_is_asked_the_same_bytes_whatever_people_said(workshop: Workshop) -> None:
    rows = rows_of_mistakes()
    job, asked = await learned_from(workshop, rows, scope="as-labelled", max_revisions=0)
    swapped_job, asked_with_swapped_labels = await learned_from(
        workshop, with_swapped_labels(rows), scope="swapped", max_revisions=0
    )
    assert job.result is not None
    assert swapped_job.result is not None
    verified = job.result["proposals"]["verified_at_once"]
    assert verified != swapped_job.result["proposals"]["verified_at_once"]  # the label does decide what is verified
    assert len(asked) == 10 * 3 * 2  # rows, the pair of each and two others, orders
    assert asked == asked_with_swapped_labels


async def test_revisions_do_not_tell_the_judge_either(workshop: Workshop) -> None:
    rows = rows_of_mistakes()
    _, asked = await learned_from(workshop, rows, scope="as-labelled")
    job, asked_with_swapped_labels = await learned_from(workshop, with_swapped_labels(rows), scope="swapped")
    assert job.result is not None
    assert job.result["proposals"]["discarded"] > 0  # so there were revisions
    comparisons, swapped_comparisons = (
        [body for body in bodies if len(images(json.loads(body))) == 2] for bodies in (asked, asked_with_swapped_labels)
    )
    assert comparisons == swapped_comparisons


async def test_a_proposer_does_see_the_label(workshop: Workshop) -> None:
    bodies = []
    for scope, rows in (("a", rows_of_mistakes()), ("b", with_swapped_labels(rows_of_mistakes()))):
        app = Recorder(create_pixel_judge_app(PixelJudgeSettings()), answer=by_the_images_alone)
        kind = workshop.kind(await workshop.judge(app), cache_scope=scope)
        await workshop.finish(await workshop.ask(await workshop.store(rows), name=scope), kind)
        bodies.append({body for body in app.bodies if "criteria" in answer_properties(json.loads(body))})
    assert not bodies[0] & bodies[1]


def test_what_can_be_shown_has_no_place_for_a_label() -> None:
    names = {field.name for shown in get_args(Shown) for field in fields(shown)}
    assert names == {"prompt", "first", "second", "image", "source"}
    assert set(signature(Opinions.of).parameters) == {"self", "shown", "rubric"}


def images(body: dict[str, Any]) -> list[str]:
    """The names of a request's images: digests of their pixels."""
    content = body["messages"][-1]["content"]
    return [part["uuid"] for part in content if part["type"] == "image_url"]
