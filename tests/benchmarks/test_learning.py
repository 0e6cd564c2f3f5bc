"""The benchmark of learning runs and its counts add up; how fast anything is stays out of it."""

import json
from pathlib import Path

import pytest

from benchmarks.learning import Plan, run, show
from benchmarks.learning_place import Way
from benchmarks.weighing import Weighing, rounds_of
from shared_schemas.autorubric import AutoRubricParameters
from shared_schemas.evaluations import Fractions
from shared_schemas.jobs import JobStage, JobState
from shared_schemas.learning import ArrParameters
from tests.arr.made_up_results import learn_result, sparse_selection, weighing_job

TINY = Plan(
    parameters=ArrParameters(
        fractions=Fractions(train=0.1, validation=0.1, test=0.8), criteria_per_pair=1, max_revisions=1, other_pairs=1
    ),
    weighing=AutoRubricParameters(
        seed_pairs=2,
        criteria_per_pair=1,
        pairs_per_round=4,
        folds=3,
        rounds=1,
        fractions=Fractions(train=0.3, validation=0.2, test=0.5),
    ),
    judge={"latency_ms": 1.0},
    selection=(40, 30),
)


async def test_every_way_learns_the_same_set_and_only_the_first_time_costs_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = await run(TINY, tmp_path)
    serial, built, again = report.runs
    assert [learned.way for learned in report.runs] == list(Way)
    assert {learned.job.state for learned in report.runs} == {JobState.SUCCEEDED}

    assert serial.job.judge_calls > built.job.judge_calls > again.job.judge_calls == 0
    assert serial.job.tokens > built.job.tokens > again.job.tokens == 0
    for learned in report.runs:
        assert sum(stage.judge_calls for stage in learned.job.stages) == learned.job.judge_calls

    floors = [report.floor_seconds(learned) for learned in report.runs]
    assert floors == [serial.job.judge_calls / 1000, 1 / 1000, 0.0]  # 1 ms each: one by one; all at once; none
    assert all(learned.seconds >= floor for learned, floor in zip(report.runs, floors, strict=True))

    found = {target.name: target for target in report.targets}
    assert found["judge calls of (c)"].is_met
    assert found["different sets learned"].is_met

    written = json.loads(json.dumps(report.as_json()))
    assert [entry["judge_calls"] for entry in written["runs"]] == [serial.job.judge_calls, built.job.judge_calls, 0]
    assert len({entry["digest"] for entry in written["runs"]}) == 1

    show(report)
    printed = capsys.readouterr().out
    assert all(way in printed for way in Way)
    assert "verify" in printed

    assert_weighing_adds_up(report.weighing)
    assert found["judge calls of (c), weighed"].is_met
    assert found["different sets learned, weighed"].is_met
    assert written["weighing"]["rounds"][1]["remembered"] == report.weighing.rounds[1].remembered
    assert written["weighing"]["selection"]["num_criteria"] == 30
    assert "selection, 40 × 30" in printed


def assert_weighing_adds_up(weighing: Weighing) -> None:
    assert weighing.built.job.judge_calls > weighing.again.job.judge_calls == 0
    first, second = weighing.rounds
    assert (first.number, second.number) == (0, 1)
    assert second.num_criteria == first.num_criteria + second.num_new
    assert first.questions == first.judge_calls > 0
    assert second.remembered >= first.judge_calls / 2 > 0
    assert second.writing_calls > 0
    assert 1 <= weighing.selection.num_kept <= 30
    for memory in (weighing.memory, weighing.selection.memory):
        assert memory.peak >= memory.before > 0


def test_what_a_round_remembers_is_what_it_asks_less_what_it_pays_for() -> None:
    # Round 0: 120 new criteria, two items for each of 10 images, and 4 kept ones about 6 images of the validation part.
    sparse = sparse_selection(num_kept=4, num_rounds=2)
    told = (
        ("margins", 5, 10, 1.0),
        ("reason", 30, 30, 1.0),
        ("round 0: score", 20, 1200, 4.0),
        ("round 0: fit", 1, 0, 2.0),
        ("round 0: check", 6, 24, 1.0),
        ("round 1: diagnose", 11, 11, 1.0),
        ("round 1: extract", 11, 12, 1.0),
        ("round 1: score", 10, 400, 2.0),
        ("round 1: fit", 1, 0, 2.0),
        ("round 1: check", 6, 6, 1.0),
        ("test: judge learned", 8, 32, 9.0),
    )
    stages = tuple(
        JobStage(name=name, done=total, total=total, judge_calls=calls, seconds=seconds)
        for name, total, calls, seconds in told
    )
    first, second = rounds_of(weighing_job(learn_result(sparse=sparse), stages=stages))
    assert (first.questions, first.judge_calls, first.remembered) == (1200 + 24, 1224, 0)
    assert (second.questions, second.judge_calls, second.remembered) == (1600 + 24, 406, 1218)
    assert (first.writing_calls, second.writing_calls) == (30, 23)
    assert (first.seconds, second.seconds) == (8.0, 7.0)
