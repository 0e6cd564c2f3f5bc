"""Learning jobs of the method `autorubric_t2i` from end to end: real storage, small drawings, a pixel judge."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from services.judging.pixel_judge import PixelJudgeSettings, create_pixel_judge_app
from shared_schemas.jobs import Job, JobState
from shared_schemas.learning import LearnResult
from shared_schemas.rubrics import Mode
from tests.rubric_worker.learning.killing import attempt_and_kill
from tests.rubric_worker.learning.workshop import (
    NAME,
    Drawing,
    Recorder,
    Workshop,
    draw,
    rows_of_mistakes,
    succeeded,
    turned,
)

FEW: dict[str, Any] = {
    "method": "autorubric_t2i",
    "seed_pairs": 2,
    "criteria_per_pair": 1,
    "rounds": 3,
    "pairs_per_round": 4,
    "folds": 3,
}
"""So few first criteria that a round of failures has something to add."""


def evidence(job: Job, reason: str) -> LearnResult:
    """What a failed job found out; fails unless it failed for this reason."""
    assert (job.state, job.reason) == (JobState.FAILED, reason), job.error
    result = LearnResult.model_validate(job.result)
    assert result.rubric is None
    return result


async def test_a_weighted_set_that_scores_single_images_is_published(workshop: Workshop) -> None:
    judge = await workshop.judge()
    job = await workshop.run(judge, await workshop.store(rows_of_mistakes()), **FEW)
    result = succeeded(job)
    version = await workshop.rubrics.get(NAME)
    content = version.content
    assert content.mode is Mode.POINTWISE
    weights = [criterion.weight for criterion in content.criteria]
    assert weights == sorted(weights, reverse=True)
    assert min(weights) > 0
    assert result.sparse is not None
    assert [(one.id, one.statement, one.weight) for one in result.sparse.kept] == [
        (criterion.id, " ".join(criterion.tips), criterion.weight) for criterion in content.criteria
    ]
    assert result.better_than_none
    assert result.report is not None
    learned, none = result.report.rubrics
    assert learned.accuracy.value >= none.accuracy.value + 0.5
    assert len(learned.criteria) == len(content.criteria)
    assert version.metrics is not None
    assert version.metrics.accuracy == learned.accuracy.value
    assert version.provenance["method"] == "autorubric_t2i"
    assert version.provenance["config"] == job.parameters["parameters"]
    assert set(version.calibration) == {judge.identity.fingerprint}


async def test_what_is_ranked_wrongly_is_diagnosed_and_a_round_adds_what_was_missed(workshop: Workshop) -> None:
    job = await workshop.run(await workshop.judge(), await workshop.store(rows_of_mistakes()), **FEW)
    sparse = succeeded(job).sparse
    assert sparse is not None
    first, second = sparse.rounds
    assert first.misranked.total >= first.drawn.total > 0
    assert (second.num_candidates, second.num_new) == (first.num_candidates + second.num_new, second.num_new)
    assert second.num_new > 0
    assert second.train_accuracy > first.train_accuracy
    assert (second.misranked.total, second.drawn.total) == (0, 0)
    assert sparse.best_round == 1
    names = [stage.name for stage in job.stages]
    assert names[:8] == [
        "margins",
        "reason",
        *(f"round 0: {step}" for step in ("score", "fit", "check")),
        *(f"round 1: {step}" for step in ("diagnose", "extract", "score")),
    ]
    assert all(stage.done == stage.total > 0 for stage in job.stages)


async def test_a_second_round_asks_about_new_criteria_alone(workshop: Workshop) -> None:
    job = await workshop.run(await workshop.judge(), await workshop.store(rows_of_mistakes()), **FEW)
    sparse = succeeded(job).sparse
    assert sparse is not None
    calls = {stage.name: stage.judge_calls for stage in job.stages}
    num_first, num_new = sparse.rounds[0].num_candidates, sparse.rounds[1].num_new
    assert calls["round 1: score"] * num_first == calls["round 0: score"] * num_new > 0


async def test_equal_seeds_give_equal_sets_and_cost_nothing_the_second_time(workshop: Workshop) -> None:
    judge = await workshop.judge()
    dataset = await workshop.store(rows_of_mistakes())
    first, second = [await workshop.run(judge, dataset, **FEW) for _ in range(2)]
    assert succeeded(first).rubric == succeeded(second).rubric
    assert first.judge_calls > 100
    assert (second.judge_calls, second.tokens) == (0, 0)


async def test_the_order_of_the_upload_changes_nothing(workshop: Workshop) -> None:
    judge = await workshop.judge()
    rows = rows_of_mistakes()
    one = await workshop.learn(judge, await workshop.store(rows), **FEW)
    other = await workshop.learn(judge, await workshop.store(rows[::-1]), name="reversed", **FEW)
    assert one.rubric is not None
    assert other.rubric is not None
    assert one.rubric.digest == other.rubric.digest


async def test_killed_at_every_stage_it_ends_with_the_same_set(workshop: Workshop, tmp_path: Path) -> None:
    undisturbed = workshop.kind(await workshop.judge(), cache_scope="undisturbed")
    dataset = await workshop.store(rows_of_mistakes())
    job = await workshop.finish(await workshop.ask(dataset, name="undisturbed", **FEW), undisturbed)
    calls = [stage.judge_calls for stage in job.stages if stage.judge_calls]
    assert len(calls) >= 8
    app = Recorder(create_pixel_judge_app(PixelJudgeSettings()))
    judge = await workshop.judge(app)
    num_probes = len(app.bodies)
    (tmp_path / "scratch").mkdir()
    kind = workshop.kind(judge, scratch=tmp_path / "scratch")
    again = await workshop.ask(dataset, **FEW)
    for number, after in enumerate(calls[:-1]):
        await attempt_and_kill(workshop, kind, app, after=after, vanishes=number % 3 == 0)
    app.num_left = None
    final = await workshop.finish(again, kind)
    assert final.attempt == len(calls)
    one, other = succeeded(job).rubric, succeeded(final).rubric
    assert one is not None
    assert other is not None
    assert one.digest == other.digest
    assert len(app.bodies) - num_probes == sum(calls)
    assert list((tmp_path / "scratch").iterdir()) == []


async def test_what_an_attempt_that_died_left_on_disk_is_removed(workshop: Workshop, tmp_path: Path) -> None:
    kind = workshop.kind(await workshop.judge(), scratch=tmp_path)
    job = await workshop.ask(await workshop.store(rows_of_mistakes()), **FEW)
    for name in (f"job-{job.id}-dead", f"job-{job.id + 1}-alive"):
        (tmp_path / name / "train").mkdir(parents=True)
    succeeded(await workshop.finish(job, kind))
    assert not (tmp_path / f"job-{job.id}-dead").exists()
    assert (tmp_path / f"job-{job.id + 1}-alive").exists()


async def test_stability_is_reported_beside_the_top_n_and_changes_nothing(workshop: Workshop) -> None:
    judge = await workshop.judge()
    dataset = await workshop.store(rows_of_mistakes())
    plain = await workshop.learn(judge, dataset, **FEW)
    reported = await workshop.learn(judge, dataset, **FEW, stability=True, stability_draws=20)
    assert plain.rubric == reported.rubric
    assert plain.sparse is not None
    assert (plain.sparse.stable, plain.sparse.kept[0].stability) == (None, None)
    assert reported.sparse is not None
    assert reported.sparse.stable
    assert all(one.stability is not None and one.stability >= 0.6 for one in reported.sparse.stable)
    assert reported.sparse.stable_accuracy is not None


async def test_labels_the_other_way_round_teach_nothing_that_beats_the_judge_alone(workshop: Workshop) -> None:
    """People here prefer what is brighter; the judge without rubrics does, too, so nothing can be better than it."""
    judge = await workshop.judge()
    job = await workshop.run(judge, await workshop.store([reversed_label(row) for row in rows_of_mistakes()]), **FEW)
    assert job.state is JobState.FAILED
    found = evidence(job, str(job.reason))
    assert job.reason in {"no-better-than-none", "nothing-selected"}
    assert not found.better_than_none


async def test_a_criterion_that_the_judge_never_answers_is_dropped_and_reported(workshop: Workshop) -> None:
    rambling = Recorder(
        create_pixel_judge_app(PixelJudgeSettings()),
        answer=lambda body: "I would rather not say." if asks_about_shape(body) else None,
    )
    judge = await workshop.judge(rambling)
    many = FEW | {"seed_pairs": 10, "criteria_per_pair": 5, "rounds": 0}
    sparse = LearnResult.model_validate(
        (await workshop.run(judge, await workshop.store(rows_of_mistakes()), **many, publish_anyway=True)).result
    ).sparse
    assert sparse is not None
    assert sparse.dropped
    assert all(one.answered_share == 0 and one.weight == 0 for one in sparse.dropped)
    assert not {one.id for one in sparse.dropped} & {one.id for one in sparse.kept}
    assert sparse.num_pairs_left_out == 0


def asks_about_shape(body: dict[str, Any]) -> bool:
    """Whether one image is asked about a criterion that names shapes."""
    text = json.dumps(body)
    return "BEGIN CRITERION" in text and any(word in text for word in ("outline of the", "silhouette"))


async def test_a_judge_that_answers_no_criterion_ends_the_job(workshop: Workshop) -> None:
    silent = Recorder(
        create_pixel_judge_app(PixelJudgeSettings()),
        answer=lambda body: "Well." if "BEGIN CRITERION" in json.dumps(body) else None,
    )
    judge = await workshop.judge(silent)
    dataset = await workshop.store(rows_of_mistakes())
    evidence(await workshop.run(judge, dataset, **FEW), "too-many-failures")
    evidence(await workshop.run(judge, dataset, **FEW, max_failed_share=1.0), "nothing-scored")


async def test_images_that_score_alike_select_nothing(workshop: Workshop) -> None:
    """Both images of every pair are the same drawing, in two different files."""
    judge = await workshop.judge()
    rows = [row | {"images": ["red circle dim", "again"]} for row in rows_of_mistakes()]
    drawing = draw("red circle dim")
    files = {"red circle dim": drawing, "again": in_another_file(drawing)}
    job = await workshop.run(judge, await workshop.store(rows, files), **FEW)
    assert "same scores" in str(job.error and job.error.detail)
    evidence(job, "nothing-selected")


@pytest.mark.parametrize("num_rows", [3, 4])
async def test_too_few_pairs_are_said_before_anybody_is_asked(workshop: Workshop, num_rows: int) -> None:
    judge = await workshop.judge()
    rows = rows_of_mistakes()[: 2 * num_rows : 2]
    job = await workshop.run(judge, await workshop.store(rows), **FEW, publish_anyway=True)
    evidence(job, "too-few-pairs")
    assert job.judge_calls == 0


async def test_labels_that_all_name_the_first_image_are_learned_from(workshop: Workshop) -> None:
    rows = [turned(row) if row["rank"] == [2, 1] else row for row in rows_of_mistakes()]
    assert {tuple(row["rank"]) for row in rows} == {(1, 2)}
    assert succeeded(await workshop.run(await workshop.judge(), await workshop.store(rows), **FEW)).better_than_none


def in_another_file(drawing: Drawing) -> Drawing:
    """The same pixels in other bytes."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(drawing.data)) as image:
        image.save(buffer, format="PNG", compress_level=0)
    return Drawing(buffer.getvalue())


def reversed_label(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"rank": row["rank"][::-1]}


async def test_a_set_is_learned_in_chinese(workshop: Workshop) -> None:
    dataset = await workshop.store(rows_of_mistakes())
    result = await workshop.learn(await workshop.judge(), dataset, **FEW, language="zh")
    assert result.better_than_none
    content = (await workshop.rubrics.get(NAME)).content
    assert all("\u4e00" <= "".join(criterion.tips)[0] <= "\u9fff" for criterion in content.criteria)


async def test_a_set_is_learned_from_edits(workshop: Workshop) -> None:
    """Made as it was asked for, or on other paper than the source's."""
    rows = [
        {
            "prompt": f"make the {shape} {colour}{wording}",
            "source": f"{other} {shape} dim",
            "images": [f"{colour} {shape} dim", f"{colour} {shape} bright"],
            "rank": [1, 2],
        }
        for wording in ("", ", please", " now")
        for shape in ("circle", "square")
        for other, colour in (("red", "blue"), ("blue", "red"), ("green", "yellow"))
    ]
    dataset = await workshop.store(rows)
    job = await workshop.run(await workshop.judge(), dataset, **FEW, publish_anyway=True)
    report = succeeded(job).report
    assert report is not None
    assert report.rubrics[0].accuracy.value == 1.0
