"""The benchmark runs and its counts add up; how fast anything is stays out of it."""

import io
import json
import math
from datetime import timedelta
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.closed_loop import Window
from benchmarks.judging import run, run_profiled
from benchmarks.measures import jain, latency_of
from benchmarks.pictures import photo_like_pngs, stamped
from benchmarks.plans import JudgeShape, Plan
from benchmarks.report import show
from benchmarks.rows import Way
from benchmarks.targets import Target

SHORT = Window(warm_up=timedelta(seconds=0.1), measured=timedelta(seconds=0.5))

TINY = Plan(
    side=32,
    rows_judge=JudgeShape(capacity=4, latency_ms=2.0, token_ms=0.05),
    rows_window=SHORT,
    counts=(1, 2),
    repeated_pairs=3,
    small_side=32,
    small_judge=JudgeShape(capacity=2, latency_ms=20.0),
    num_runs=4,
    fairness_window=SHORT,
    batch_sizes=(1, 2),
    overload_batch=2,
    overload_factor=10.0,
    overload_deadline=timedelta(seconds=0.5),
    overload_lasts=timedelta(seconds=1),
    vllm_window=SHORT,
    num_pictures=4,
)


async def test_every_row_is_there_and_its_counts_add_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = await run(TINY, tmp_path)
    throughput, pressure = report.judges

    assert [(row.way, row.num_clients) for row in throughput.rows] == list(product(Way, TINY.counts))
    for row in throughput.rows:
        assert row.num_pairs > 0
        assert (row.num_failed, row.num_unread) == (0, 0)
        assert (row.split is not None) == (row.way in {Way.SERVICE, Way.ADAPTIVE})
        assert set(row.cpu_per_1000) == {"clients", "judge", "service"}
        fewest, most = {Way.WRITTEN: (1, 1), Way.ADAPTIVE: (1, 2)}.get(row.way, (2, 2))
        assert fewest * row.num_pairs <= row.judge_calls <= most * row.num_pairs

    assert throughput.repetition is not None
    assert throughput.repetition.judge_calls == 0

    assert [result.batch_sizes for result in pressure.fairness] == [(1,), TINY.batch_sizes]
    for result in pressure.fairness:
        assert len(result.shares) == TINY.num_runs
        assert min(result.shares) > 0

    overload = pressure.overload
    assert overload is not None
    assert overload.num_requests > 0
    assert overload.num_answered + overload.num_refused + overload.num_broken == overload.num_requests

    targets = [target for judge in report.judges for target in judge.targets]
    assert not any(math.isnan(target.measured) for target in throughput.targets)
    show(report)
    printed = capsys.readouterr().out
    assert [target.name for target in targets if target.name not in printed] == []
    written = json.loads(json.dumps(report.as_json()))
    assert [target["name"] for judge in written["judges"] for target in judge["targets"]] == [t.name for t in targets]


async def test_a_profile_tells_where_the_time_of_the_event_loop_goes(tmp_path: Path) -> None:
    report = await run_profiled(TINY, tmp_path)
    [judge] = report.judges
    assert judge.profile is not None
    names = [part.name for part in judge.profile.parts]
    assert any(name.startswith("services/") for name in names)
    assert len(names) == len(set(names))
    assert sum(part.ms_per_pair for part in judge.profile.parts) <= judge.profile.ms_per_pair * (1 + 1e-9)
    assert 0 < judge.profile.busy <= 1
    show(report)


def test_pictures_are_the_same_for_everybody_and_stamping_changes_no_pixel() -> None:
    [first, second], again = photo_like_pngs(2, side=32), photo_like_pngs(2, side=32)
    assert [first, second] == again
    assert first != second
    other = stamped(first, "no. 7")
    assert other != first
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(other))), np.asarray(Image.open(io.BytesIO(first))))


def test_fairness_is_one_when_all_have_the_same_and_one_nth_when_one_has_all() -> None:
    assert jain([3, 3, 3, 3]) == 1
    assert jain([8, 0, 0, 0]) == 0.25
    assert jain([1, 3]) == 0.8


def test_latencies_are_in_milliseconds() -> None:
    assert latency_of([]) is None
    found = latency_of([0.001, 0.002, 0.003])
    assert found is not None
    assert found.p50 == pytest.approx(2.0)
    assert found.p99 == pytest.approx(2.98)


def test_a_target_that_was_not_measured_is_missed() -> None:
    assert Target(name="goodput", wanted=0.9, measured=0.9).is_met
    assert not Target(name="goodput", wanted=0.9, measured=0.89).is_met
    assert Target(name="latency", wanted=5, measured=4.9, at_most=True).is_met
    assert not Target(name="goodput", wanted=0.9, measured=math.nan).is_met
    assert not Target(name="latency", wanted=5, measured=math.nan, at_most=True).is_met
