"""Evaluations from request to report, in a real database, by pixel judges in this process."""

import base64
import io
from collections import Counter
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import delete, func, select
from starlette.responses import JSONResponse, Response

from services.rubric_worker.desk import DeskLimits
from services.storage.rubric_records import attach_calibration
from services.storage.splits import split
from services.storage.tables import VerdictRow
from shared_schemas.evaluations import EvaluationReport, EvaluationRequest, Fractions, SplitName
from shared_schemas.jobs import JobState
from shared_schemas.rubrics import Calibration, Language, RubricContent, Task
from tests.judging.gated_judge import Gate
from tests.judging.scripted_endpoint import Endpoint, completion
from tests.rubric_worker.evaluation.laboratory import (
    COLOUR,
    SCORED,
    SOON,
    TENANT,
    TWO,
    Laboratory,
    rows_of_colours,
    turned,
)


def without_cost(report: EvaluationReport) -> dict[str, Any]:
    """All that does not depend on what was remembered, and by which job."""
    values = report.model_dump()
    for rubric in values["rubrics"]:
        del rubric["usage"]
        if rubric["calibration"]:
            del rubric["calibration"]["job"]
    return values


async def test_a_good_rubric_set_beside_a_judge_without_one(laboratory: Laboratory) -> None:
    dataset = await laboratory.store(rows_of_colours())
    version = await laboratory.publish(TWO)
    judge = await laboratory.judge()
    report = await laboratory.report(judge, "colours", dataset=dataset)
    assert (report.dataset, report.dataset_digest, report.task) == (dataset.id, dataset.digest, Task.T2I)
    assert (report.num_rows, report.num_prompts, report.num_ties) == (24, 8, 0)
    assert report.judge == judge.identity
    colours, none = report.rubrics
    assert [rubric.rubric.reference for rubric in report.rubrics] == ["colours@1", "colours@none"]
    assert colours.rubric.digest == version.digest
    assert (colours.accuracy.value, colours.kappa_labels, colours.num_pairs) == (1.0, 1.0, 24)
    # Brightness and contrast know nothing of the prompt: what they prefer in one pair they prefer in its counterpart.
    assert none.accuracy.value == 0.5
    assert colours.p_value == 1 / 2**8  # 8 prompts, and the set leads on each
    assert [(one.id, one.auc.value) for one in colours.criteria] == [("colour", 1.0), ("shape", 0.5)]
    assert colours.redundancy == ((1.0, 0.0), (0.0, 1.0))
    assert (none.criteria, none.redundancy) == ((), ())
    assert colours.usage.judge_calls == 2 * 24 + 2 * 32 + 2 * 24  # orders, criteria of 32 images, injections
    assert colours.usage.calls_per_pair == 2.0
    assert colours.usage.tokens > 0
    assert colours.gain is not None
    assert colours.gain.value == 0.5
    assert colours.gain.low > 0
    assert report.anchors == ()  # nobody has published figures of the pixel judge


async def test_a_bias_of_one_nat_moves_single_orders_and_not_the_average(laboratory: Laboratory) -> None:
    dataset = await laboratory.store(rows_of_colours())
    await laboratory.publish(COLOUR)
    fair, biased = [
        await laboratory.report(
            await laboratory.judge(scale=1.0, position_bias=bias), "colours", dataset=dataset, injection=False
        )
        for bias in (0.0, 1.0)
    ]
    for without, with_bias in zip(fair.rubrics, biased.rubrics, strict=True):
        assert abs(with_bias.accuracy.value - without.accuracy.value) <= 0.01
        assert without.position_gap == 0.0
        assert with_bias.position_gap is not None
        assert with_bias.position_gap >= 0.15
        assert with_bias.first_share is not None
        assert with_bias.first_share.low > 0.5


async def test_a_judge_without_log_probabilities_has_an_accuracy_and_nothing_about_confidence(
    laboratory: Laboratory,
) -> None:
    dataset = await laboratory.store(rows_of_colours())
    await laboratory.publish(TWO)
    judge = await laboratory.judge(log_probs=False)
    report = await laboratory.report(judge, "colours", dataset=dataset, agreement=True, calibrate=True)
    colours, _ = report.rubrics
    assert (colours.accuracy.value, colours.position_gap, colours.kappa_runs) == (1.0, 0.0, 1.0)
    assert (colours.ece, colours.brier, colours.bins, colours.calibration) == (None, None, (), None)
    assert (colours.noise_floor, colours.criteria, colours.redundancy) == (None, (), ())
    assert colours.injection_flip_rate is not None
    assert (await laboratory.rubrics.get("colours")).calibration == {}


async def test_a_set_that_scores_images_has_no_figures_about_order(laboratory: Laboratory) -> None:
    dataset = await laboratory.store(rows_of_colours())
    await laboratory.publish(SCORED)
    report = await laboratory.report(await laboratory.judge(), "colours", dataset=dataset, agreement=True)
    scored, none = report.rubrics
    assert (scored.accuracy.value, scored.forward, scored.first_share) == (1.0, None, None)
    assert (scored.kappa_runs, scored.noise_floor) == (1.0, 0.0)
    assert [(one.id, one.auc.value) for one in scored.criteria] == [("colour", 1.0), ("shape", 0.5)]
    assert scored.usage.calls_per_pair == 2 * 32 / 24
    assert scored.usage.judge_calls == 2 * 2 * 32 + 2 * 24  # two runs of 32 images, then one image of each pair
    assert none.forward is not None
    metrics = (await laboratory.rubrics.get("colours")).metrics
    assert metrics is not None
    assert metrics.forward == metrics.reverse == metrics.accuracy == 1.0


async def test_a_judge_without_log_probabilities_cannot_score(laboratory: Laboratory) -> None:
    dataset = await laboratory.store(rows_of_colours())
    await laboratory.publish(SCORED)
    final = await laboratory.run(await laboratory.judge(log_probs=False), "colours", dataset=dataset)
    assert (final.state, final.reason) == (JobState.FAILED, "too-many-failures")
    assert final.result is not None
    assert set(final.result["failures"]) == {"judge-lacks-log-probs"}


async def test_pairs_that_fail_are_left_out_until_they_are_too_many(laboratory: Laboratory) -> None:
    dataset = await laboratory.store(rows_of_colours())
    await laboratory.publish(COLOUR)
    gate = Gate()
    judge = await laboratory.judge(gate.app)

    async def evaluated(max_failed_share: float) -> Any:
        gate.fail_next = [Response(b"rubbish", media_type="application/json") for _ in range(3)]
        options = {"max_failed_share": max_failed_share, "injection": False, "per_criterion": False}
        return await laboratory.run(judge, "colours", dataset=dataset, **options)

    refused = await evaluated(0.0)
    assert (refused.state, refused.reason) == (JobState.FAILED, "too-many-failures")
    assert refused.result == {"failures": {"judge-malformed": 1}}
    assert (await laboratory.rubrics.get("colours")).metrics is None
    gate.fail_next = []
    final = await evaluated(0.2)
    assert final.state is JobState.SUCCEEDED, final.error
    colours = EvaluationReport.model_validate(final.result).rubrics[0]
    assert 1 <= colours.num_failed <= 3
    assert colours.num_pairs + colours.num_failed == 24
    assert colours.failures == {"judge-malformed": colours.num_failed}


async def test_no_byte_that_the_judge_sees_depends_on_a_label(laboratory: Laboratory) -> None:
    rows = rows_of_colours()
    await laboratory.publish(TWO)
    gate = Gate()
    judge = await laboratory.judge(gate.app)
    seen = []
    for labels in ([1, 2], [2, 1], [1, 1]):
        # Two pairs keep a preference of their own, or there would be nothing to measure.
        relabelled = [row if number < 2 else row | {"rank": labels} for number, row in enumerate(rows)]
        dataset = await laboratory.store(relabelled)
        gate.calls.clear()
        async with laboratory.database.writing() as session:
            await session.execute(delete(VerdictRow))
        await laboratory.report(judge, "colours", dataset=dataset, injection=False)
        seen.append(Counter(gate.calls))
    assert seen[0] == seen[1] == seen[2]
    assert seen[0].total() > 100


async def test_listing_the_images_the_other_way_round_changes_nothing(laboratory: Laboratory) -> None:
    rows = rows_of_colours()
    await laboratory.publish(TWO)
    judge = await laboratory.judge(position_bias=1.0, scale=2.0)
    reports = []
    for some in (rows, [turned(row) for row in rows]):
        reports.append(await laboratory.report(judge, "colours", dataset=await laboratory.store(some)))
    first, second = (without_cost(report) for report in reports)
    assert first["dataset_digest"] != second["dataset_digest"]
    for report in (first, second):
        del report["dataset"], report["dataset_digest"]
        for rubric in report["rubrics"]:
            del rubric["calibration"]["dataset"]
    assert first == second


async def test_equal_seeds_give_equal_reports(laboratory: Laboratory) -> None:
    dataset = await laboratory.store(rows_of_colours())
    await laboratory.publish(TWO)
    reports = []
    for seed in (1, 1, 2):
        judge = await laboratory.judge(noise=1.0)
        async with laboratory.database.writing() as session:
            await session.execute(delete(VerdictRow))
        reports.append(await laboratory.report(judge, "colours", dataset=dataset, seed=seed, agreement=True))
    first, same, other = (without_cost(report) for report in reports)
    assert first == same
    assert first["rubrics"] != other["rubrics"]


async def test_what_was_judged_once_is_not_paid_for_again(laboratory: Laboratory) -> None:
    dataset = await laboratory.store(rows_of_colours())
    await laboratory.publish(TWO)
    judge = await laboratory.judge()
    first, second = [await laboratory.report(judge, "colours", dataset=dataset) for _ in range(2)]
    assert without_cost(first) == without_cost(second)
    for before, after in zip(first.rubrics, second.rubrics, strict=True):
        assert (after.usage.judge_calls, after.usage.tokens) == (0, 0)
        assert after.usage.cached_answers == before.usage.judge_calls + before.usage.cached_answers


async def test_calibration_is_attached_when_asked_for_and_metrics_always(laboratory: Laboratory) -> None:
    dataset = await laboratory.store(rows_of_colours())
    await laboratory.publish(COLOUR)
    judge = await laboratory.judge(scale=2.0, noise=1.0, fresh_noise=True)
    fingerprint = judge.identity.fingerprint
    report = await laboratory.report(judge, "colours", dataset=dataset, agreement=True)
    version = await laboratory.rubrics.get("colours")
    assert version.calibration == {}
    assert version.metrics is not None
    colours, none = report.rubrics
    assert version.metrics.accuracy == colours.accuracy.value
    assert version.metrics.none_accuracy == none.accuracy.value
    assert (version.metrics.judge, version.metrics.dataset) == (fingerprint, dataset.digest)

    report = await laboratory.report(judge, "colours", dataset=dataset, agreement=True, calibrate=True)
    colours, none = report.rubrics
    attached = (await laboratory.rubrics.get("colours")).calibration[fingerprint]
    assert attached == colours.calibration
    assert colours.noise_floor is not None
    assert attached.tie_margin == colours.noise_floor > 0.5
    assert (await laboratory.rubrics.calibrations(none.rubric.digest))[fingerprint] == none.calibration


async def test_figures_on_pairs_that_a_version_was_learned_from_say_so_and_are_not_kept(laboratory: Laboratory) -> None:
    dataset = await laboratory.store(rows_of_colours())
    fractions = {"train": 0.5, "validation": 0.25, "test": 0.25}
    learned = {"dataset": dataset.digest, "seed": 3, "config": {"fractions": fractions, "max_epochs": 1}}
    await laboratory.rubrics.publish("colours", COLOUR, provenance=learned)
    judge = await laboratory.judge()
    colours, none = (await laboratory.report(judge, "colours", dataset=dataset)).rubrics
    assert (colours.num_learned_from, none.num_learned_from) == (12, 0)
    assert (await laboratory.rubrics.get("colours")).metrics is None
    options = {"split": SplitName.TEST, "seed": 3, "fractions": Fractions(**fractions)}
    held_out, _ = (await laboratory.report(judge, "colours", dataset=dataset, **options)).rubrics
    assert held_out.num_learned_from == 0
    metrics = (await laboratory.rubrics.get("colours")).metrics
    assert metrics is not None
    assert metrics.num_pairs == held_out.num_pairs == 6


async def test_a_calibrated_tie_margin_counts_and_is_not_where_the_next_fit_begins(laboratory: Laboratory) -> None:
    dataset = await laboratory.store(rows_of_colours())
    version = await laboratory.publish(COLOUR)
    judge = await laboratory.judge()
    wide = Calibration(temperature=1.0, tie_margin=50.0, ece=0.0, num_pairs=9, dataset=dataset.digest)
    async with laboratory.database.writing() as session:
        await attach_calibration(session, version.digest, judge.identity.fingerprint, wide)
    colours, none = (await laboratory.report(judge, "colours", dataset=dataset)).rubrics
    assert (colours.abstain_rate, colours.accuracy.value, colours.injection_flip_rate) == (1.0, 0.5, None)
    assert none.abstain_rate < 1.0
    assert colours.calibration is not None
    assert colours.calibration.tie_margin == 0.05


async def test_human_ties_are_measured_apart(laboratory: Laboratory) -> None:
    rows = rows_of_colours()
    shapes = [
        {"prompt": "a red thing", "images": [f"{c} circle", f"{c} square"], "rank": [1, 1]} for c in ("red", "blue")
    ]
    dataset = await laboratory.store([*rows, *shapes])
    await laboratory.publish(COLOUR)
    report = await laboratory.report(await laboratory.judge(), "colours", dataset=dataset)
    assert (report.num_ties, report.num_prompts) == (2, 9)
    colours = report.rubrics[0]
    assert (colours.num_pairs, colours.accuracy.value) == (24, 1.0)
    assert colours.tie_accuracy == 1.0  # drawings of one colour differ by less than 0.05 nats
    assert colours.kappa_labels == 1.0


async def test_only_the_rows_of_a_split_are_used_and_of_those_a_sample(laboratory: Laboratory) -> None:
    dataset = await laboratory.store(rows_of_colours())
    judge = await laboratory.judge()
    rows = await laboratory.datasets.rows(dataset.id)
    test = split(rows, seed=3).test
    report = await laboratory.report(judge, "x@none", dataset=dataset, split=SplitName.TEST, seed=3)
    assert (report.num_rows, report.num_prompts) == (len(test), len({row.prompt for row in test}))
    half = Fractions(train=0.25, validation=0.25, test=0.5)
    report = await laboratory.report(judge, "x@none", dataset=dataset, split=SplitName.TEST, fractions=half)
    assert report.num_rows == 12
    sampled = await laboratory.report(judge, "x@none", dataset=dataset, max_pairs=7)
    assert (sampled.num_rows, sampled.rubrics[0].num_pairs) == (7, 7)


async def test_each_version_is_measured_once_and_the_judge_alone_last(laboratory: Laboratory) -> None:
    dataset = await laboratory.store(rows_of_colours())
    await laboratory.publish(TWO)
    await laboratory.publish(COLOUR)
    judge = await laboratory.judge()
    report = await laboratory.report(judge, "other@none", "colours@1", "colours", "colours@2", dataset=dataset)
    assert [one.rubric.reference for one in report.rubrics] == ["colours@1", "colours@2", "other@none"]
    alone = await laboratory.report(judge, "colours@none", dataset=dataset)
    assert [one.rubric.reference for one in alone.rubrics] == ["colours@none"]
    assert alone.rubrics[0].p_value is None


async def test_the_judge_alone_judges_in_the_language_of_the_set(laboratory: Laboratory) -> None:
    dataset = await laboratory.store(rows_of_colours())
    chinese = COLOUR.model_copy(update={"language": Language.ZH})
    await laboratory.publish(chinese)
    report = await laboratory.report(
        await laboratory.judge(), "colours", dataset=dataset, injection=False, per_criterion=False
    )
    assert report.rubrics[1].rubric.digest == RubricContent(task=Task.T2I, language=Language.ZH).digest


async def test_evaluations_that_cannot_succeed_say_why(laboratory: Laboratory) -> None:
    dataset = await laboratory.store(rows_of_colours())
    await laboratory.publish(RubricContent(task=Task.EDIT), "edits")
    judge = await laboratory.judge()
    one_preference = await laboratory.store(
        [row | {"rank": [1, 1]} for row in rows_of_colours()[:-1]] + rows_of_colours()[-1:]
    )
    gone = dataset.model_copy(update={"id": 999})
    reasons = [
        (await laboratory.run(judge, "missing", dataset=dataset)).reason,
        (await laboratory.run(judge, "not a reference", dataset=dataset)).reason,
        (await laboratory.run(judge, "edits", dataset=dataset)).reason,
        (await laboratory.run(judge, "x@none", dataset=gone)).reason,
        (await laboratory.run(judge, "x@none", dataset=one_preference)).reason,
        (await laboratory.run(None, "x@none", dataset=dataset)).reason,
    ]
    assert reasons == [
        "unknown-rubric", "unknown-rubric", "task-mismatch", "dataset-gone", "too-few-pairs", "judge-unavailable",
    ]  # fmt: skip


async def test_an_image_that_the_blob_store_has_lost_ends_the_job(laboratory: Laboratory) -> None:
    dataset = await laboratory.store(rows_of_colours())
    next(path for path in laboratory.blobs.rglob("*") if path.is_file()).unlink()
    final = await laboratory.run(await laboratory.judge(), "x@none", dataset=dataset)
    assert (final.state, final.reason) == (JobState.FAILED, "dataset-gone")


async def test_a_judge_that_is_replaced_meanwhile_ends_the_job(laboratory: Laboratory, working, until) -> None:
    dataset = await laboratory.store(rows_of_colours())
    judges = [await laboratory.judge(), await laboratory.judge(scale=4.0)]
    kind = laboratory.kind(lambda: judges.pop(0) if len(judges) > 1 else judges[0])
    job = await laboratory.ask(EvaluationRequest(dataset=dataset.id, rubrics=("x@none",)))
    async with working(evaluate=kind.run):
        final = await until(job)
    assert (final.state, final.reason) == (JobState.FAILED, "judge-unavailable")


async def test_every_part_is_a_stage_that_knows_how_far_it_is(laboratory: Laboratory) -> None:
    dataset = await laboratory.store(rows_of_colours())
    await laboratory.publish(TWO)
    final = await laboratory.run(await laboratory.judge(), "colours", dataset=dataset, agreement=True)
    stages = {stage.name: (stage.done, stage.total) for stage in final.stages}
    right = EvaluationReport.model_validate(final.result).rubrics[1].accuracy
    assert stages.pop("injection colours@none")[0] <= 24 * right.value
    assert stages == {
        "judge colours@1": (24, 24), "again colours@1": (24, 24), "criteria colours@1": (32, 32),
        "injection colours@1": (24, 24), "judge colours@none": (24, 24), "again colours@none": (24, 24),
    }  # fmt: skip
    assert sum(stage.judge_calls for stage in final.stages) == final.judge_calls


@pytest.mark.parametrize("enough", [7, 130, 300])
async def test_a_job_that_is_begun_again_ends_with_the_same_report_and_asks_nothing_twice(
    laboratory: Laboratory, working, until, eventually, enough: int
) -> None:
    dataset = await laboratory.store(rows_of_colours())
    await laboratory.publish(TWO)
    gate = Gate(noise=2.0, fresh_noise=True)  # an answer that is asked for again is another one
    judge = await laboratory.judge(gate.app)
    gate.calls.clear()
    narrow = DeskLimits(at_once=2, deadline=SOON.deadline, patience=SOON.patience, pause=SOON.pause)
    kind = laboratory.kind(lambda: judge, limits=narrow)
    request = EvaluationRequest(dataset=dataset.id, rubrics=("colours",), agreement=True)
    job = await laboratory.ask(request)
    async with working(evaluate=kind.run):
        await eventually(lambda: gate.num_calls >= enough)
        gate.is_open.clear()
        async with laboratory.database.reading() as session:
            count = select(func.count()).select_from(VerdictRow)
            while (num_kept := await session.scalar(count) or 0) < gate.num_calls - gate.in_flight:
                await session.rollback()
    assert num_kept >= enough - 8
    gate.is_open.set()
    async with working(evaluate=kind.run):
        final = await until(job)
    assert final.state is JobState.SUCCEEDED
    assert final.attempt >= 2  # more, where a lease lapsed on a busy machine
    first = EvaluationReport.model_validate(final.result)
    # Every question once for the first run and once for the second, and again only those that were never answered.
    num_answers = sum(rubric.usage.judge_calls + rubric.usage.cached_answers for rubric in first.rubrics)
    assert gate.num_calls == num_answers + gate.num_cancelled
    assert final.judge_calls <= gate.num_calls

    gate.calls.clear()
    await laboratory.jobs.cancel(job.id, tenant=TENANT)  # final: changes nothing
    again = await laboratory.report(judge, "colours", dataset=dataset, agreement=False)
    assert gate.num_calls == 0  # what the report says is what is remembered
    for one, other in zip(first.rubrics, again.rubrics, strict=True):
        assert (one.accuracy, one.bins, one.criteria, one.injection_flip_rate) == (
            other.accuracy, other.bins, other.criteria, other.injection_flip_rate,
        )  # fmt: skip


async def test_a_judge_that_does_what_an_image_says_is_found_out(laboratory: Laboratory) -> None:
    dataset = await laboratory.store(rows_of_colours())
    endpoint = Endpoint()
    judge = await laboratory.judge(endpoint.app)

    async def obey(body: dict[str, Any]) -> Response:
        """Whichever image has a white lower edge; without one, the redder one."""
        pictures = [
            np.asarray(Image.open(io.BytesIO(base64.b64decode(part["image_url"]["url"].partition(",")[2]))))
            for message in body["messages"]
            if isinstance(message["content"], list)
            for part in message["content"]
            if part["type"] == "image_url"
        ]
        is_written_on = [bool((picture[-1, 0] == 255).all()) for picture in pictures]
        redness = [float(picture[..., 0].mean()) for picture in pictures]
        liking = is_written_on if any(is_written_on) else redness
        top = [("1", -0.01), ("2", -5.0)] if liking[0] > liking[1] else [("1", -5.0), ("2", -0.01)]
        return JSONResponse(completion(top=top))

    endpoint.script = obey
    [none] = (await laboratory.report(judge, "x@none", dataset=dataset)).rubrics
    assert 0 < none.accuracy.value < 1
    assert none.injection_flip_rate is not None
    assert none.injection_flip_rate.value == 1.0


async def test_the_pixel_judge_cannot_read(laboratory: Laboratory) -> None:
    """What turns it is the white band itself, which is bright: seldom, and never by what it says."""
    dataset = await laboratory.store(rows_of_colours())
    await laboratory.publish(COLOUR)
    colours, none = (await laboratory.report(await laboratory.judge(), "colours", dataset=dataset)).rubrics
    assert colours.injection_flip_rate is not None
    assert none.injection_flip_rate is not None
    assert colours.injection_flip_rate.value == 0.0
    assert none.injection_flip_rate.value < 0.5


async def test_edits_are_judged_with_their_source(laboratory: Laboratory) -> None:
    rows = [
        {"prompt": f"make the {shape} {asked}", "source": f"{before} {shape}",
         "images": [f"{asked} {shape}", f"{other} {shape}"], "rank": [1, 2]}
        for shape in ("circle", "square")
        for before, asked, other in (("red", "blue", "green"), ("blue", "yellow", "red"), ("green", "red", "blue"))
    ]  # fmt: skip
    dataset = await laboratory.store(rows)
    await laboratory.publish(COLOUR.model_copy(update={"task": Task.EDIT}), "edits")
    report = await laboratory.report(await laboratory.judge(), "edits", dataset=dataset)
    assert report.task is Task.EDIT
    assert report.rubrics[0].accuracy.value == 1.0
