"""A learning job from end to end: real storage, a pixel judge that writes and judges, and small drawings."""

import asyncio
import json
import random
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from services.judging.pixel_judge import PixelJudgeSettings, create_pixel_judge_app
from services.rubric_worker.methods.embedding_server import EmbeddingServer
from shared_schemas.jobs import Job, JobState
from shared_schemas.learning import LearnResult
from shared_schemas.rubrics import Language, Mode, RubricReference
from tests.rubric_worker.learning.workshop import (
    NAME,
    SOON,
    Recorder,
    Workshop,
    answer_properties,
    rows_of_mistakes,
    succeeded,
    turned,
)


def shuffled_labels(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Half of the rows, drawn at random, labelled the other way round."""
    dice = random.Random(0)
    wrong = dice.sample(range(len(rows)), len(rows) // 2)
    return [row | {"rank": row["rank"][::-1]} if number in wrong else row for number, row in enumerate(rows)]


def evidence(job: Job, reason: str) -> LearnResult:
    """What a failed job found out; fails unless it failed for this reason."""
    assert (job.state, job.reason) == (JobState.FAILED, reason), job.error
    result = LearnResult.model_validate(job.result)
    assert result.rubric is None
    return result


async def test_labelled_pairs_go_in_and_a_measured_version_comes_out(workshop: Workshop) -> None:
    judge = await workshop.judge()
    dataset = await workshop.store(rows_of_mistakes())
    job = await workshop.run(judge, dataset, alias="production")
    result = succeeded(job)
    assert result.rubric is not None
    version = await workshop.rubrics.resolve(RubricReference.parse(f"{NAME}@production"))
    assert (version.version, version.digest) == (result.rubric.version, result.rubric.digest) == (1, version.digest)
    assert result.is_new
    assert result.better_than_none
    assert result.p_value is not None
    assert result.p_value <= 0.05
    assert result.report is not None
    learned, none = result.report.rubrics
    assert (learned.rubric, none.rubric.reference) == (result.rubric, f"{NAME}@none")
    assert learned.accuracy.value >= none.accuracy.value + 0.5
    assert version.metrics is not None
    assert (version.metrics.accuracy, version.metrics.none_accuracy) == (learned.accuracy.value, none.accuracy.value)
    assert version.metrics.job == job.id
    assert set(version.calibration) == {judge.identity.fingerprint}


async def test_a_version_says_where_it_comes_from(workshop: Workshop) -> None:
    judge = await workshop.judge()
    dataset = await workshop.store(rows_of_mistakes())
    job = await workshop.run(judge, dataset, seed=3)
    first = await workshop.rubrics.get(NAME)
    again = await workshop.run(judge, dataset, seed=4, task_description="Small drawings.")
    second = await workshop.rubrics.get(NAME)
    provenance = first.provenance
    assert {name: provenance[name] for name in ("method", "parent", "dataset", "seed", "judge", "chat", "job")} == {
        "method": "arr",
        "parent": None,
        "dataset": dataset.digest,
        "seed": 3,
        "judge": judge.identity.fingerprint,
        "chat": workshop.chat(judge).identity.fingerprint,
        "job": job.id,
    }
    assert sum(part["rows"] for part in provenance["splits"].values()) == dataset.num_rows
    assert provenance["config"] == job.parameters["parameters"]
    assert (second.provenance["parent"], second.provenance["job"]) == (first.digest, again.id)


async def test_equal_seeds_give_equal_sets_and_cost_nothing_the_second_time(workshop: Workshop) -> None:
    judge = await workshop.judge()
    dataset = await workshop.store(rows_of_mistakes())
    first = await workshop.run(judge, dataset)
    second = await workshop.run(judge, dataset)
    one, other = succeeded(first), succeeded(second)
    assert one.rubric == other.rubric
    assert (one.is_new, other.is_new) == (True, False)
    assert first.judge_calls > 100
    assert (second.judge_calls, second.tokens) == (0, 0)


def in_any_order(app: ASGIApp, *, seed: int) -> ASGIApp:
    """The same application, each request held up for a while of its own."""
    dice = random.Random(seed)

    async def held_up(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(dice.randrange(200)):
            await asyncio.sleep(0)
        await app(scope, receive, send)

    return held_up


async def test_neither_who_is_asked_with_whom_nor_who_answers_first_changes_anything(workshop: Workshop) -> None:
    dataset = await workshop.store(rows_of_mistakes())
    digests, asked = set(), []
    for at_once, seed in ((1, 0), (32, 1), (5, 2)):
        app = Recorder(create_pixel_judge_app(PixelJudgeSettings()))
        kind = workshop.kind(
            await workshop.judge(in_any_order(app, seed=seed)),
            cache_scope=f"{at_once} at once",
            limits=replace(SOON, at_once=at_once),
        )
        job = await workshop.ask(dataset, name=f"by-{at_once}", exemplars=1, sample_above=2, batch_size=3)
        result = succeeded(await workshop.finish(job, kind))
        assert result.rubric is not None
        digests.add(result.rubric.digest)
        asked.append(app.bodies)
    assert asked[0] != asked[1] != asked[2]
    assert sorted(asked[0]) == sorted(asked[1]) == sorted(asked[2])
    assert len(digests) == 1


async def test_the_order_of_the_upload_changes_nothing(workshop: Workshop) -> None:
    judge = await workshop.judge()
    rows = rows_of_mistakes()
    one = await workshop.learn(judge, await workshop.store(rows))
    other = await workshop.learn(judge, await workshop.store([*rows[::-1]]), name="reversed")
    assert one.rubric is not None
    assert other.rubric is not None
    assert one.rubric.digest == other.rubric.digest


async def test_every_stage_says_what_it_took(workshop: Workshop) -> None:
    job = await workshop.run(await workshop.judge(), await workshop.store(rows_of_mistakes()))
    result = succeeded(job)
    names = [stage.name for stage in result.stages]
    assert names[-9:] == [
        "select",
        "structure",
        "verify the themes",
        *(f"{part}: judge {who}" for part in ("test", "validation", "compare") for who in ("learned", f"{NAME}@none")),
    ]
    assert {"propose", "verify"} <= set(names)
    assert all(stage.done == stage.total > 0 for stage in job.stages)
    assert sum(stage.judge_calls for stage in result.stages) == job.judge_calls > 0
    assert sum(stage.tokens for stage in result.stages) == job.tokens > 0
    assert [stage.seconds for stage in result.stages] == [stage.seconds for stage in job.stages]


async def test_labels_at_random_publish_nothing_and_move_no_alias(workshop: Workshop) -> None:
    judge = await workshop.judge()
    published = await workshop.learn(judge, await workshop.store(rows_of_mistakes()), alias="production")
    dataset = await workshop.store(shuffled_labels(rows_of_mistakes()))
    found = evidence(await workshop.run(judge, dataset, alias="production"), "no-better-than-none")
    assert not found.better_than_none
    assert found.report is not None
    assert found.report.rubrics[0].rubric.name is None
    newest = await workshop.rubrics.get(NAME)
    production = await workshop.rubrics.resolve(RubricReference.parse(f"{NAME}@production"))
    assert published.rubric is not None
    assert newest.digest == production.digest == published.rubric.digest


async def test_what_is_no_better_is_published_when_that_is_asked_for(workshop: Workshop) -> None:
    dataset = await workshop.store(shuffled_labels(rows_of_mistakes()))
    result = await workshop.learn(await workshop.judge(), dataset, publish_anyway=True)
    assert not result.better_than_none
    assert result.rubric is not None
    assert (await workshop.rubrics.get(NAME)).digest == result.rubric.digest


@pytest.mark.parametrize("num_rows", [1, 2])
async def test_too_few_pairs_end_the_job_before_anything_is_asked(workshop: Workshop, num_rows: int) -> None:
    dataset = await workshop.store(rows_of_mistakes()[:num_rows])
    job = await workshop.run(await workshop.judge(), dataset)
    evidence(job, "too-few-pairs")
    assert job.judge_calls == 0


async def test_too_few_prompts_to_show_anything_are_told_before_anything_is_asked(workshop: Workshop) -> None:
    dataset = await workshop.store(rows_of_mistakes()[:6])
    job = await workshop.run(await workshop.judge(), dataset)
    evidence(job, "too-few-pairs")
    assert job.error is not None
    assert "no gain is significant at 0.05" in job.error.detail
    assert job.judge_calls == 0


async def test_ties_alone_say_nothing(workshop: Workshop) -> None:
    dataset = await workshop.store([row | {"rank": [1, 1]} for row in rows_of_mistakes()])
    job = await workshop.run(await workshop.judge(), dataset)
    evidence(job, "all-ties")
    assert job.judge_calls == 0


async def test_another_task_than_the_datasets_is_refused(workshop: Workshop) -> None:
    dataset = await workshop.store(rows_of_mistakes())
    evidence(await workshop.run(await workshop.judge(), dataset, task="edit"), "task-mismatch")


async def test_a_dataset_that_is_gone_or_anothers_ends_the_job(workshop: Workshop) -> None:
    dataset = await workshop.store(rows_of_mistakes())
    job = await workshop.run(await workshop.judge(), dataset.model_copy(update={"id": 17}))
    evidence(job, "dataset-gone")


async def test_images_that_are_gone_end_the_job(workshop: Workshop) -> None:
    dataset = await workshop.store(rows_of_mistakes())
    for file in [file for file in workshop.blobs.rglob("*") if file.is_file()]:
        file.unlink()
    evidence(await workshop.run(await workshop.judge(), dataset), "dataset-gone")


async def test_nobody_there_to_judge_or_to_write_ends_the_job_after_a_while(workshop: Workshop) -> None:
    dataset = await workshop.store(rows_of_mistakes())
    evidence(await workshop.run(None, dataset), "judge-unavailable")
    judge = await workshop.judge()
    kind = workshop.kind(judge, writes=False)
    evidence(await workshop.finish(await workshop.ask(dataset, seed=1), kind), "chat-unavailable")


async def test_a_critique_tells_the_margin_and_which_criteria_point_the_wrong_way(workshop: Workshop) -> None:
    """Labels the wrong way round, and criteria that are right: whatever tells two images apart points wrongly."""
    statements = ["The object has the colour that was asked for.", "The silhouette fits the requested form."]
    written = json.dumps({"criteria": [{"theme": "Theme", "statement": text} for text in statements]})
    app = Recorder(
        create_pixel_judge_app(PixelJudgeSettings()),
        answer=lambda body: written if "criteria" in answer_properties(body) else None,
    )
    rows = [row | {"rank": row["rank"][::-1]} for row in rows_of_mistakes()]
    job = await workshop.run(await workshop.judge(app), await workshop.store(rows), max_revisions=2, other_pairs=0)
    found = evidence(job, "nothing-verified")
    asked = [body.decode() for body in app.bodies if "criteria" in answer_properties(json.loads(body))]
    critiques = [body for body in asked if "The criteria that were written first" in body]
    assert len(critiques) == 2 * found.proposals.proposed == 2 * (len(asked) - len(critiques))
    assert all(
        "It preferred the wrong image: its log-odds for the one that people prefer came to -" in body
        for body in critiques
    )
    assert all("points the wrong way; the probability that an image meets it" in body for body in critiques)
    assert not any("points the right way;" in body for body in critiques)


async def test_criteria_that_never_hold_are_given_up(workshop: Workshop) -> None:
    def answer(body: dict[str, Any]) -> str | None:
        if "criteria" not in answer_properties(body):
            return None
        return json.dumps({"criteria": [{"theme": "Nothing", "statement": "The weather was fine on that day."}]})

    app = Recorder(create_pixel_judge_app(PixelJudgeSettings()), answer=answer)
    dataset = await workshop.store(rows_of_mistakes())
    found = evidence(await workshop.run(await workshop.judge(app), dataset), "nothing-verified")
    assert found.proposals.proposed == found.proposals.discarded > 0
    assert found.report is None


async def test_a_writer_whose_criteria_all_need_a_rival_is_told_from_criteria_that_do_not_hold(
    workshop: Workshop,
) -> None:
    def answer(body: dict[str, Any]) -> str | None:
        if "criteria" not in answer_properties(body):
            return None
        return json.dumps(
            {"criteria": [{"theme": "Colour", "statement": "Image 1 has the colour that was asked for."}]}
        )

    app = Recorder(create_pixel_judge_app(PixelJudgeSettings()), answer=answer)
    job = await workshop.run(await workshop.judge(app), await workshop.store(rows_of_mistakes()))
    found = evidence(job, "nothing-proposed")
    assert found.proposals.refused_criteria == found.proposals.discarded == found.proposals.proposed > 0
    assert [stage.name for stage in job.stages] == ["propose", "verify"]


async def test_a_writer_that_writes_rubbish_ends_the_job(workshop: Workshop) -> None:
    app = Recorder(
        create_pixel_judge_app(PixelJudgeSettings()),
        answer=lambda body: "No idea." if body.get("max_tokens", 0) > 1000 else None,
    )
    dataset = await workshop.store(rows_of_mistakes())
    job = await workshop.run(await workshop.judge(app), dataset)
    evidence(job, "too-many-failures")
    assert job.error is not None
    assert "judge-malformed" in job.error.detail


async def test_a_judge_that_fails_one_call_in_ten_does_no_harm(workshop: Workshop) -> None:
    dataset = await workshop.store(rows_of_mistakes())
    sound = await workshop.learn(await workshop.judge(), dataset, name="sound")
    ill = await workshop.judge(attempts=5, error_rate=0.05, malformed_rate=0.03, drop_rate=0.02, seed=1)
    result = await workshop.learn(ill, dataset, name="ill")
    assert result.rubric is not None
    assert sound.rubric is not None
    assert (await workshop.rubrics.get("ill")).content.criteria


async def test_another_model_can_write(workshop: Workshop) -> None:
    verdicts = Recorder(create_pixel_judge_app(PixelJudgeSettings()))
    texts = Recorder(create_pixel_judge_app(PixelJudgeSettings(model="writer")))
    judge, writer = await workshop.judge(verdicts), await workshop.judge(texts)
    before = len(verdicts.bodies), len(texts.bodies)
    result = await workshop.learn(judge, await workshop.store(rows_of_mistakes()), chat=workshop.chat(writer))
    assert result.better_than_none
    asked_to_judge = [answer_properties(json.loads(body)) for body in verdicts.bodies[before[0] :]]
    asked_to_write = [answer_properties(json.loads(body)) for body in texts.bodies[before[1] :]]
    assert not any({"criteria", "themes", "entries"} & properties for properties in asked_to_judge)
    assert all({"criteria", "themes", "entries"} & properties for properties in asked_to_write)
    provenance = (await workshop.rubrics.get(NAME)).provenance
    assert provenance["chat"] == workshop.chat(writer).identity.fingerprint


async def test_three_images_of_a_row_are_compared_two_by_two(workshop: Workshop) -> None:
    rows = rows_of_mistakes()
    three = [
        row | {"images": [*row["images"], "yellow circle bright"], "rank": [*row["rank"], 2]}
        for row in rows
        if "yellow circle" not in " ".join(row["images"])
    ]
    dataset = await workshop.store(three)
    assert (dataset.num_pairs, dataset.num_ties) == (3 * len(three), len(three))
    result = await workshop.learn(await workshop.judge(), dataset)
    assert result.better_than_none


async def test_a_pointwise_set_is_learned_by_scores(workshop: Workshop) -> None:
    result = await workshop.learn(await workshop.judge(), await workshop.store(rows_of_mistakes()), mode=Mode.POINTWISE)
    version = await workshop.rubrics.get(NAME)
    assert version.content.mode is Mode.POINTWISE
    assert result.better_than_none
    assert result.report is not None
    assert result.report.rubrics[0].forward is None


async def test_images_that_are_scored_alone_teach_a_pointwise_set(workshop: Workshop) -> None:
    rows = rows_of_mistakes()
    alone = [
        {"prompt": f"{row['prompt']} alone", "images": [image], "score": [5 - 4 * (place - 1)]}
        for row in rows[:8]
        for image, place in zip(row["images"], row["rank"], strict=True)
    ]
    dataset = await workshop.store([*rows, *alone])
    result = await workshop.learn(await workshop.judge(), dataset, mode=Mode.POINTWISE)
    assert result.proposals.proposed > 10
    assert result.better_than_none
    assert result.report is not None
    assert result.report.num_rows == result.report.rubrics[0].num_pairs  # what stands alone measures nothing


@pytest.mark.parametrize(
    "given", [{"max_score": 4}, {"min_score": 2}, {"min_score": 6}, {"min_score": 1, "max_score": 3}]
)
async def test_scores_outside_their_range_are_told_before_anything_is_asked(
    workshop: Workshop, given: dict[str, Any]
) -> None:
    rows = [row | {"score": [9 - 4 * place for place in row["rank"]]} for row in rows_of_mistakes()]
    job = await workshop.run(await workshop.judge(), await workshop.store(rows), **given)
    evidence(job, "scores-out-of-range")
    assert job.error is not None
    assert job.error.detail.startswith("the data has scores from 1 to 5, which are not within")
    assert job.judge_calls == 0


async def test_a_chinese_set_is_learned_in_chinese(workshop: Workshop) -> None:
    result = await workshop.learn(
        await workshop.judge(), await workshop.store(rows_of_mistakes()), language=Language.ZH
    )
    content = (await workshop.rubrics.get(NAME)).content
    assert result.better_than_none
    assert content.language is Language.ZH
    assert all(not criterion.theme.isascii() for criterion in content.criteria)
    assert [criterion.id for criterion in content.criteria] == [f"c{n}" for n in range(1, len(content.criteria) + 1)]


async def test_edits_are_learned_from_with_their_sources(workshop: Workshop) -> None:
    rows = [
        {
            "prompt": f"{wording} the {shape} {new}",
            "source": f"{old} {shape} dim",
            "images": [f"{new} {shape} dim", f"{old} {shape} bright"],
            "rank": [1, 2],
        }
        for wording in ("make", "turn")
        for shape in ("circle", "square")
        for old, new in (("red", "blue"), ("green", "red"), ("yellow", "green"), ("blue", "yellow"), ("red", "yellow"))
    ]
    dataset = await workshop.store([turned(row) if n % 2 else row for n, row in enumerate(rows)])
    job = await workshop.run(await workshop.judge(), dataset, publish_anyway=True)
    result = succeeded(job)
    assert result.rubric is not None
    assert (await workshop.rubrics.get(NAME)).content.task == "edit"
    assert result.report is not None
    assert result.report.task == "edit"


async def test_exemplars_come_from_rows_that_taught_nothing(workshop: Workshop) -> None:
    app = Recorder(create_pixel_judge_app(PixelJudgeSettings()))
    judge = await workshop.judge(app)
    dataset = await workshop.store(rows_of_mistakes())
    result = await workshop.learn(
        judge, dataset, exemplars=1, fractions={"train": 0.6, "validation": 0.2, "test": 0.2}, publish_anyway=True
    )
    [exemplar] = (await workshop.rubrics.get(NAME)).content.guide
    assert exemplar.rationale
    assert exemplar.source is None
    rows = {row.prompt: row for row in await workshop.datasets.rows(dataset.id)}
    assert exemplar.prompt in rows
    proposals = [body for body in app.bodies if "criteria" in answer_properties(json.loads(body))]
    assert len(proposals) >= result.proposals.proposed
    assert not any(exemplar.prompt in body.decode() for body in proposals)


@pytest.mark.parametrize("rationale", [" ", "Image 1 shows what was asked for."])
async def test_an_exemplar_whose_reason_says_nothing_or_names_a_place_is_left_out(
    workshop: Workshop, rationale: str
) -> None:
    def answer(body: dict[str, Any]) -> str | None:
        return json.dumps({"rationale": rationale}) if "rationale" in answer_properties(body) else None

    app = Recorder(create_pixel_judge_app(PixelJudgeSettings()), answer=answer)
    dataset = await workshop.store(rows_of_mistakes())
    fractions = {"train": 0.6, "validation": 0.2, "test": 0.2}
    await workshop.learn(await workshop.judge(app), dataset, exemplars=1, fractions=fractions, publish_anyway=True)
    assert any("rationale" in answer_properties(json.loads(body)) for body in app.bodies)
    assert (await workshop.rubrics.get(NAME)).content.guide == ()


async def test_without_themes_every_statement_is_a_criterion(workshop: Workshop) -> None:
    result = await workshop.learn(await workshop.judge(), await workshop.store(rows_of_mistakes()), structure=False)
    content = (await workshop.rubrics.get(NAME)).content
    assert (result.structured, result.structure_problem) == (False, None)
    assert len(content.criteria) == result.num_selected
    assert all(len(criterion.tips) == 1 for criterion in content.criteria)


async def test_of_many_rows_batches_are_taken_until_nothing_new_is_learned(workshop: Workshop) -> None:
    dataset = await workshop.store(rows_of_mistakes())
    job = await workshop.run(
        await workshop.judge(), dataset, sample_above=2, batch_size=2, min_relative_gain=0.9, publish_anyway=True
    )
    assert 4 <= succeeded(job).proposals.proposed < 10


async def test_statements_can_be_compared_by_a_server(workshop: Workshop) -> None:
    judge, dataset = await workshop.judge(), await workshop.store(rows_of_mistakes())
    found = evidence(await workshop.run(judge, dataset, embedding="endpoint"), "chat-unavailable")
    assert found.proposals.proposed == 0
    asked: list[str] = []

    async def embeddings(request: Request) -> Response:
        statements = json.loads(await request.body())["input"]
        asked.extend(statements)
        vectors = [[float(len(set(text) & set(part))) for part in ("aeiou", "xyz", "rst")] for text in statements]
        return JSONResponse({"data": [{"index": n, "embedding": vector} for n, vector in enumerate(vectors)]})

    app = Starlette(routes=[Route("/embeddings", embeddings, methods=["POST"])])
    server = EmbeddingServer(url="http://in-process", model="small", transport=httpx2.ASGITransport(app=app))
    job = await workshop.ask(dataset, embedding="endpoint", seed=1, publish_anyway=True)
    result = succeeded(await workshop.finish(job, workshop.kind(judge, embeddings=server)))
    assert len(asked) == len(set(asked)) >= result.num_candidates > 0
