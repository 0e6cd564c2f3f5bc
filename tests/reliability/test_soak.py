"""The soak works, and its sums are right; what comes of hours of it, docs/reliability.md says."""

import json
import time
from random import Random

import numpy as np
import pytest

from tests.reliability.soak import show, soak
from tests.reliability.soak_growth import Watch, slope
from tests.reliability.soak_place import FAULTS, STORM_SECONDS, place_in
from tests.reliability.soak_traffic import Traffic


@pytest.fixture
def place(tmp_path):
    with place_in(tmp_path) as place:
        yield place


async def test_a_short_soak_asks_everything_and_finds_nothing_wrong(place, capsys) -> None:
    found = await soak(place, seconds=5.0, seed=0)
    assert found.requests.keys() == {"pairs", "group", "score", "upload", "learn", "publish"}
    assert (found.failures, found.violations, found.excused) == ({}, {}, {})
    assert found.growth.first_files > 0
    show(found)
    assert "failed without an excuse" in capsys.readouterr().out
    assert json.loads(json.dumps(found.as_json()))["requests"] == found.requests


async def test_every_fault_happens_and_passes_and_only_a_storm_excuses(place) -> None:
    former = place.replicas[1].pid
    for fault in FAULTS:
        await place.suffer(fault, Random(0))
    assert [happening.name for happening in place.happenings] == list(FAULTS)
    assert place.replicas[1].pid != former
    [storm] = place.storms
    assert place.stormed(storm + STORM_SECONDS, storm + STORM_SECONDS + 1.0)
    assert not place.stormed(storm - 2.0, storm - 1.0)
    assert not place.stormed(storm + 60.0, storm + 61.0)
    async with Traffic(place, seed=0) as traffic:
        await traffic.flow(until=time.monotonic() + 1.0)
    assert traffic.tally.failures == {}
    assert traffic.tally.violations == {}


def test_a_straight_line_is_found_without_doubt_and_a_level_one_with_its_noise() -> None:
    hours = np.arange(20.0)
    line = slope(hours, 3.0 * hours + 7.0)
    assert (line.low, line.per_hour, line.high) == pytest.approx((3.0, 3.0, 3.0))
    level = slope(hours, np.array([1.0, -1.0] * 10))
    assert level.low < 0.0 < level.high


def test_growth_is_told_after_the_warm_up() -> None:
    watch = Watch(pid=0)
    watch.seconds = [36.0 * sample for sample in range(80)]  # 100 samples an hour
    watch.megabytes = [500.0] * 20 + [100.0 + sample for sample in range(60)]
    watch.files = [9] * 80
    growth = watch.growth()
    assert (growth.first_mb, growth.last_mb) == (101.0, 158.0)  # means of three
    assert growth.memory.per_hour == pytest.approx(100.0)
    assert (growth.most_files, growth.files.per_hour) == (9, 0.0)
