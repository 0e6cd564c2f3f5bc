"""A judge that goes away in the middle of a batch: what was finished is kept, and nothing is made up for the rest."""

import asyncio
from random import Random

import httpx

from tests.reliability.cable import cable_to
from tests.reliability.flawed_judge import FlawedJudge
from tests.reliability.questions import POSITION_BIAS, Batch, Questions, Tally

AWAY = {"judge-unavailable", "judge-timeout"}


async def test_pairs_finished_before_the_cut_are_kept_and_the_rest_has_failed(serve, running, scale, measured) -> None:
    tally, dice, questions = Tally(), Random(1), Questions(1)
    judge_url = serve(FlawedJudge().app)

    async def one_round() -> None:
        batch = questions.batch(60)
        num_answers = dice.randrange(batch.num_calls // 4)
        async with cable_to(judge_url) as cable, running(cable.url) as service:
            cable.cut_after(num_answers)
            cut_off = tally.add(batch, await service.ask(batch, deadline_seconds=2.0))
            assert cable.is_cut
            cable.mend()
            await service.until_metric("arr_judge_replica_up", 1)
            again = tally.add(batch, await service.ask(batch))
        assert cut_off is not None
        assert again is not None
        num_kept = sum(len(result.pairs) for result in cut_off.results)
        assert [result.error for result in again.results if result.error] == []
        assert sum(pair.cached for result in again.results for pair in result.pairs) >= num_kept
        assert again.usage.cached_verdicts + again.usage.judge_calls == batch.num_calls
        assert 2 * num_kept <= again.usage.cached_verdicts <= num_answers

    for _ in range(scale):
        await asyncio.gather(*(one_round() for _ in range(2)))
    measured["groups"] = dict(tally.statuses)
    assert tally.failures.total() > 0
    assert tally.failures.keys() <= AWAY
    assert tally.violations == []


async def test_another_replica_judges_what_the_lost_one_has_not(serve, running, scale, measured) -> None:
    tally, dice, questions = Tally(), Random(2), Questions(2)
    judge_url = serve(FlawedJudge().app)
    async with cable_to(judge_url) as one, cable_to(judge_url) as other, running(one.url, other.url) as service:
        for lost in (one, other) * scale:
            batch = questions.batch(60)
            lost.cut_after(dice.randrange(batch.num_calls // 3))
            tally.add(batch, await service.ask(batch))
            assert lost.is_cut
            lost.mend()
            await service.until_metric("arr_judge_replica_up", 2)
    measured["groups"] = dict(tally.statuses)
    assert tally.statuses == {"scored": tally.num_groups}
    assert tally.violations == []


async def test_a_judge_killed_and_started_again_costs_time_and_no_pair(start, running, scale, measured) -> None:
    tally, questions = Tally(), Questions(3)

    def start_judge(port: int = 0):
        return start("pixel-judge", "--port", str(port), "--position-bias", str(POSITION_BIAS), "--latency-ms", "5")

    async def ask_and_kill(service, judge) -> tuple[Batch, asyncio.Task[httpx.Response]]:
        batch, num_answers = questions.batch(100), await service.metric("arr_judge_call_seconds_count")
        asked = asyncio.create_task(service.ask(batch))
        await service.until_metric("arr_judge_call_seconds_count", num_answers + 20)
        judge.kill()
        return batch, asked

    one, other = await asyncio.gather(asyncio.to_thread(start_judge), asyncio.to_thread(start_judge))
    async with running(f"{one.url}/v1", f"{other.url}/v1") as service:
        for _ in range(scale):
            batch, asked = await ask_and_kill(service, one)
            with_a_replica = tally.add(batch, await asked)
            assert with_a_replica is not None
            assert {result.status for result in with_a_replica.results} == {"scored"}

            batch, asked = await ask_and_kill(service, other)
            one, other = await asyncio.gather(*(asyncio.to_thread(start_judge, each.port) for each in (one, other)))
            alone = tally.add(batch, await asked)
            await service.until_metric("arr_judge_replica_up", 2)
            again = tally.add(batch, await service.ask(batch))
            assert alone is not None
            assert again is not None
            assert {result.status for result in again.results} == {"scored"}
            assert again.usage.cached_verdicts >= 2 * sum(len(result.pairs) for result in alone.results)
    measured["groups"] = dict(tally.statuses)
    assert tally.failures.keys() <= AWAY
    assert tally.violations == []
