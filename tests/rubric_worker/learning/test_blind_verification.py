"""Whoever verifies does not know what people said: no byte of what the judge is asked depends on the label."""

import hashlib
import json
from collections.abc import Collection
from dataclasses import fields
from inspect import signature
from typing import Any, get_args

from services.judging.pixel_judge import PixelJudgeSettings, create_pixel_judge_app
from services.rubric_worker.methods.labels import Shown
from services.rubric_worker.methods.opinions import Opinions
from services.storage.splits import split
from shared_schemas.evaluations import Fractions
from shared_schemas.jobs import Job
from tests.rubric_worker.learning.workshop import (
    FRACTIONS,
    Answer,
    Recorder,
    Workshop,
    answer_properties,
    rows_of_mistakes,
    succeeded,
)


def by_the_images_alone(body: dict[str, Any]) -> str | None:
    """Criteria of its own for every row, the same in every revision, whatever the label."""
    if "criteria" not in answer_properties(body):
        return None
    name = hashlib.sha256("".join(images(body)).encode()).hexdigest()[:8]
    statements = ["The object has the colour that was asked for", "The silhouette fits the requested form"]
    return json.dumps({"criteria": [{"theme": name, "statement": f"{text}, as in {name}."} for text in statements]})


COLOUR, FORM = "The object has the colour that was asked for.", "The silhouette fits the requested form."
ALWAYS_THE_SAME: dict[str, Any] = {
    "criteria": {"criteria": [{"theme": "Colour", "statement": COLOUR}, {"theme": "Form", "statement": FORM}]},
    "themes": {"themes": [{"theme": "As asked for", "tips": [COLOUR, FORM], "covers": [1, 2]}]},
    "entries": {"entries": [{"criterion": 1, "theme": 1}, {"criterion": 2, "theme": 1}]},
    "rationale": {"rationale": "The better image shows what was asked for."},
}


def always_the_same(body: dict[str, Any]) -> str | None:
    """The same criteria for every row, and the same themes of them."""
    wanted = answer_properties(body)
    return next((json.dumps(answer) for name, answer in ALWAYS_THE_SAME.items() if name in wanted), None)


def with_swapped_labels(rows: list[dict[str, Any]], prompts: Collection[str] | None = None) -> list[dict[str, Any]]:
    """All labels the other way round, or those of these prompts."""
    return [row | {"rank": row["rank"][::-1]} if prompts is None or row["prompt"] in prompts else row for row in rows]


async def asked_of_the_judge(
    workshop: Workshop, rows: list[dict[str, Any]], *, scope: str, answer: Answer, **options: Any
) -> tuple[Job, list[bytes], list[bytes]]:
    """The job, and all verdicts and all texts that were asked for; each `scope` remembers for itself."""
    app = Recorder(create_pixel_judge_app(PixelJudgeSettings()), answer=answer)
    judge = await workshop.judge(app)
    num_probes = len(app.bodies)
    kind = workshop.kind(judge, cache_scope=scope)
    job = await workshop.finish(await workshop.ask(await workshop.store(rows), name=scope, **options), kind)
    verdicts, texts = list[bytes](), list[bytes]()
    for body in app.bodies[num_probes:]:
        (texts if answer_properties(json.loads(body)) else verdicts).append(body)
    return job, sorted(verdicts), texts


def about(bodies: list[bytes], prompts: Collection[str]) -> list[bytes]:
    """Those that mention one of these prompts."""
    return [body for body in bodies if any(f"\\n{prompt}\\n" in body.decode() for prompt in prompts)]


async def prompts_of_training(workshop: Workshop, rows: list[dict[str, Any]], fractions: Fractions) -> set[str]:
    stored = await workshop.datasets.rows((await workshop.store(rows)).id)
    return {row.prompt for row in split(stored, seed=0, fractions=fractions).train}


async def learned_from(
    workshop: Workshop, rows: list[dict[str, Any]], *, scope: str, **options: Any
) -> tuple[Job, list[bytes]]:
    """The job, and every verdict on training prompts that was asked for."""
    prompts = await prompts_of_training(workshop, rows, FRACTIONS)
    job, verdicts, _ = await asked_of_the_judge(
        workshop, rows, scope=scope, answer=by_the_images_alone, structure=False, **options
    )
    return job, about(verdicts, prompts)


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


async def test_single_criteria_are_asked_about_without_a_hint(workshop: Workshop) -> None:
    """Criteria that tell nothing apart are revised whatever the label is; each is asked about each image for that."""
    nothing = json.dumps({"criteria": [{"theme": "Nothing", "statement": "The weather was fine on that day."}]})

    def telling_nothing(body: dict[str, Any]) -> str | None:
        return nothing if "criteria" in answer_properties(body) else None

    asked = []
    for scope, rows in (("a", rows_of_mistakes()), ("b", with_swapped_labels(rows_of_mistakes()))):
        job, verdicts, _ = await asked_of_the_judge(workshop, rows, scope=scope, answer=telling_nothing)
        assert job.reason == "nothing-verified"
        asked.append(verdicts)
    assert any(len(images(json.loads(body))) == 1 for body in asked[0])
    assert asked[0] == asked[1]


async def test_neither_themes_nor_sets_are_tested_with_a_hint(workshop: Workshop) -> None:
    """Labels that only the themes and the finished set are held against change nothing that the judge is asked."""
    rows = rows_of_mistakes()
    held_out = {row["prompt"] for row in rows} - await prompts_of_training(workshop, rows, FRACTIONS)
    job, asked, _ = await asked_of_the_judge(workshop, rows, scope="as-labelled", answer=always_the_same)
    swapped = with_swapped_labels(rows, held_out)
    swapped_job, asked_with_swapped_labels, _ = await asked_of_the_judge(
        workshop, swapped, scope="swapped", answer=always_the_same, publish_anyway=True
    )
    results = [succeeded(one) for one in (job, swapped_job)]
    assert [result.structured for result in results] == [True, True]  # so the themes were verified
    assert [result.better_than_none for result in results] == [True, False]  # so the labels did count
    assert about(asked, held_out) == about(asked_with_swapped_labels, held_out) != []
    assert asked == asked_with_swapped_labels


async def test_exemplars_are_chosen_without_a_hint_from_rows_used_for_nothing_else(workshop: Workshop) -> None:
    rows, fractions = rows_of_mistakes(), Fractions()
    options: dict[str, Any] = {
        "answer": always_the_same,
        "exemplars": 1,
        "fractions": fractions.model_dump(),
        "publish_anyway": True,
    }
    job, asked, written = await asked_of_the_judge(workshop, rows, scope="as-labelled", **options)
    training = await prompts_of_training(workshop, rows, fractions)
    proposals = [body for body in written if "criteria" in answer_properties(json.loads(body))]
    set_aside = {prompt for prompt in training if not about(proposals, [prompt])}
    swapped = with_swapped_labels(rows, set_aside)
    swapped_job, asked_with_swapped_labels, _ = await asked_of_the_judge(workshop, swapped, scope="swapped", **options)
    guides = [(await workshop.rubrics.get(one.parameters["name"])).content.guide for one in (job, swapped_job)]
    assert [len(guide) for guide in guides] == [1, 0]  # so the labels did count
    choosing, choosing_with_swapped_labels = (
        [body for body in about(bodies, set_aside) if len(images(json.loads(body))) == 2]
        for bodies in (asked, asked_with_swapped_labels)
    )
    assert len(choosing) == 2 * sum(row["prompt"] in set_aside for row in rows)
    assert choosing == choosing_with_swapped_labels


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
