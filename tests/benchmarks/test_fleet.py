"""The fleet on paper: its clock, its judges and its sums; what the scheduler makes of them, the benchmark says."""

import asyncio
import json
from dataclasses import replace
from random import Random

import pytest

from benchmarks.fleet import Plan, kinds, scenes
from benchmarks.fleet_judges import Server, ServerShape
from benchmarks.fleet_report import as_json, show, summary_of, targets_of
from benchmarks.fleet_scenes import Outage, Played, Scene, Way, play
from benchmarks.fleet_trainers import Kind, Tally
from benchmarks.virtual_time import run_virtually
from services.judging.backend import BackendError

SHAPE = ServerShape(
    tokens_per_second=10_000.0,
    step_seconds=0.1,
    way_seconds=0.2,
    max_step_tokens=2_000,
    max_waiting=3,
    fresh_tokens=1_000.0,
    whole_tokens=1_500.0,
    jitter=0.0,
)

PAIRS = Kind(name="pairs", count=8, sample_seconds=4.0, update_seconds=3.0, groups=8, candidates=2, micro_batches=4)


@pytest.fixture
def scene() -> Scene:
    """8 runs of 8 pairs in 7 s ask for 18.3 calls a second of 30."""
    return Scene(
        name="sized",
        kinds=(PAIRS,),
        num_replicas=3,
        server=replace(SHAPE, max_waiting=256, max_step_tokens=8_000, step_seconds=0.02, jitter=0.1),
        warm_up_seconds=10.0,
        measured_seconds=60.0,
        num_processes=2,
    )


def test_an_hour_passes_at_once_and_waiting_for_nothing_is_an_error() -> None:
    async def sleep() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    async def wait_for_nothing() -> None:
        await asyncio.Event().wait()

    assert run_virtually(sleep()) == pytest.approx(3600)
    with pytest.raises(RuntimeError, match="for ever"):
        run_virtually(wait_for_nothing())


def test_a_judge_reads_what_waits_step_by_step() -> None:
    """The way takes 0.2 s, a step 0.1 s and 0.1 s for every call whose rubric is known; two calls fit in a step."""

    async def ask(num_calls: int, *, knows: bool) -> list[float]:
        server = Server(shape=SHAPE, random=Random(0))
        if knows:
            server.knows("rubric")
        working = asyncio.create_task(server.work())
        ended: list[float] = []

        async def one() -> None:
            await server.answer("rubric")
            ended.append(asyncio.get_running_loop().time())

        await asyncio.gather(*(one() for _ in range(num_calls)))
        working.cancel()
        assert server.num_answered == num_calls
        return ended

    assert run_virtually(ask(1, knows=True)) == pytest.approx([0.4])
    assert run_virtually(ask(1, knows=False)) == pytest.approx([0.45])
    assert run_virtually(ask(3, knows=True)) == pytest.approx([0.5, 0.5, 0.7])


def test_a_judge_refuses_what_is_too_much_and_takes_everything_along_when_it_dies() -> None:
    async def ask() -> list[str]:
        server = Server(shape=SHAPE, random=Random(0))
        working = asyncio.create_task(server.work())
        asking = [asyncio.create_task(server.answer("rubric")) for _ in range(4)]
        await asyncio.sleep(0.25)
        server.die()
        said = await asyncio.gather(*asking, server.answer("rubric"), return_exceptions=True)
        working.cancel()
        assert server.num_answered == 0
        assert all(isinstance(error, BackendError) for error in said)
        return [str(error) for error in said]

    *four, last = run_virtually(ask())
    assert sorted(four) == [*["it broke the connection off"] * 3, "too many wait"]
    assert last == "nobody listens there"


@pytest.mark.parametrize("way", Way)
def test_a_fleet_that_has_enough_judges_is_served_and_adds_up(scene: Scene, way: Way) -> None:
    played = play(scene, way)
    pairs = sum(tally.num_pairs for _, tally in played.runs)
    assert sum(tally.num_failed for _, tally in played.runs) == 0
    assert played.num_calls == pytest.approx(2 * pairs, abs=2 * 8 * PAIRS.pairs)
    assert played.used == pytest.approx(scene.predicted.utilisation, rel=0.15)
    for _, tally in played.runs:
        assert len(tally.step_seconds) == len(tally.wait_seconds) >= 6
        assert min(tally.wait_seconds) >= 0.0


def test_the_same_scene_gives_the_same_numbers(scene: Scene) -> None:
    short = replace(scene, measured_seconds=15.0)
    first, again = play(short, Way.SCHEDULER), play(short, Way.SCHEDULER)
    assert [tally for _, tally in first.runs] == [tally for _, tally in again.runs]
    assert first.num_calls == again.num_calls > 0


def test_no_pair_is_lost_when_a_judge_dies_and_some_calls_fail(scene: Scene) -> None:
    outage = Outage(begins=5.0, ends=20.0)
    played = play(
        replace(scene, outage=outage, measured_seconds=30.0, server=replace(scene.server, error_rate=0.01)),
        Way.SCHEDULER,
    )
    assert sum(tally.num_failed for _, tally in played.runs) == 0
    assert played.num_calls > 0


def test_shares_and_waits_are_summed_up_by_hand(scene: Scene) -> None:
    """Two runs of one kind: steps of 8 s and of 12 s, of which they wait 1 and 5."""
    tallies = [
        Tally(step_seconds=[8.0, 8.0, 8.0], wait_seconds=[1.0, 1.0, 1.0], num_pairs=24),
        Tally(step_seconds=[12.0, 12.0], wait_seconds=[5.0, 5.0], num_pairs=15, num_failed=1),
    ]
    found = summary_of(
        Played(scene=scene, way=Way.SCHEDULER, runs=tuple((PAIRS, tally) for tally in tallies), num_calls=900)
    )
    assert found.used == pytest.approx(900 / (60 * 30))
    assert found.wait_share == pytest.approx(13 / 48)
    assert (found.wait_p50, found.num_failed) == (1.0, 1)
    assert (found.fewest, found.most) == pytest.approx((8 / 12 / (5 / 6), 1 / (5 / 6)))  # pairs/s: 1 and 2/3
    assert found.others_share == pytest.approx(2 / 3 / (5 / 6))
    assert found.jain == pytest.approx((5 / 3) ** 2 / (2 * (1 + 4 / 9)))
    assert found.kept is None


def test_the_report_has_every_scene_and_every_target(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    plan = Plan(runs_per_kind=16)
    names = [one.name for one, _ in scenes(plan)]
    tally = Tally(step_seconds=[8.0], wait_seconds=[1.0], num_pairs=8)
    found = []
    for one, ways in scenes(plan):
        runs = tuple((kind, tally) for kind in one.kinds for _ in range(kind.count))
        for way in ways:
            played = Played(scene=one, way=way, runs=runs, num_calls=100)
            found.append(summary_of(played, without_greedy=played))
    assert [target.name for target in targets_of(found) if "semaphore" in target.name] == []
    assert {target.name.split(",")[0] for target in targets_of(found)} == set(names)
    show(found)
    printed = capsys.readouterr().out
    assert [name for name in names if name not in printed] == []
    written = json.loads(json.dumps(as_json(found, machine="paper", seconds=1.0)))
    assert [each["scene"] for each in written["scenes"]] == [each.scene for each in found]
    assert scene.name in names


def test_the_fleet_of_the_benchmark_has_256_runs_and_as_many_judges_as_leave_a_third_free() -> None:
    fleet = kinds(64)
    assert sum(kind.count for kind in fleet) == 256
    assert [kind.pairs for kind in fleet] == [8, 16, 24, 56]
    sized = scenes(Plan(runs_per_kind=64))[0][0]
    calls = sum(2 * kind.count * kind.pairs / (kind.sample_seconds + kind.update_seconds) for kind in fleet)
    assert calls / sized.capacity <= 0.7 < calls / (sized.capacity * (1 - 1 / sized.num_replicas))
