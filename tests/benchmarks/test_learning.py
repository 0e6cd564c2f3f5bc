"""The benchmark of learning runs and its counts add up; how fast anything is stays out of it."""

import json
from pathlib import Path

import pytest

from benchmarks.learning import Plan, run, show
from benchmarks.learning_place import Way
from shared_schemas.evaluations import Fractions
from shared_schemas.jobs import JobState
from shared_schemas.learning import ArrParameters

TINY = Plan(
    parameters=ArrParameters(
        fractions=Fractions(train=0.1, validation=0.1, test=0.8), criteria_per_pair=1, max_revisions=1, other_pairs=1
    ),
    judge={"latency_ms": 1.0},
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
