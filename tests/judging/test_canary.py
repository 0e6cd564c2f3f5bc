"""Drift: known pairs judged again and again by a judge that changes behind its name."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from starlette.responses import JSONResponse, PlainTextResponse

from services.judging.answers import Answer
from services.judging.backend import OpenAIBackend
from services.judging.cache import MemoryVerdictCache, VerdictCache
from services.judging.canary import DRIFT_ALARM, Canary
from services.judging.judge import Judge
from services.judging.pixel_judge import PixelJudgeSettings, create_pixel_judge_app

StartJudge = Callable[..., Awaitable[Judge]]

EVERY = timedelta(milliseconds=1)


class Switch:
    """A server that says it is always the same, whatever judges behind it."""

    def __init__(self, **settings: Any) -> None:
        self.version = "1"
        self.is_away = False
        self.swap(**settings)

    def swap(self, **settings: Any) -> None:
        self._judge = create_pixel_judge_app(PixelJudgeSettings(**settings))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        app: Any = self._judge
        if scope["path"] == "/version":
            app = JSONResponse({"version": self.version})
        elif self.is_away:
            app = PlainTextResponse("away", 500)
        await app(scope, receive, send)


class Watch:
    """A canary and what it reported."""

    def __init__(self, judge: Judge) -> None:
        self.drifts: list[float] = []
        self.canary = Canary(judge, every=EVERY, on_drift=self.drifts.append)

    @property
    def problem(self) -> str | None:
        return self.canary.problem

    async def look(self) -> float:
        """The drift of one round."""
        await self.canary.look()
        return self.drifts[-1]


async def test_a_judge_that_answers_as_ever_does_not_drift(start_judge: StartJudge) -> None:
    watch = Watch(await start_judge(Switch()))
    assert [await watch.look() for _ in range(3)] == [0.0, 0.0, 0.0]
    assert watch.problem is None


@pytest.mark.parametrize(("bias", "alarms"), [(0.4, False), (-0.4, False), (0.75, True), (-2.0, True)])
async def test_a_change_of_the_log_odds_is_the_drift_and_more_than_half_a_nat_an_alarm(
    start_judge: StartJudge, bias: float, alarms: bool
) -> None:
    server = Switch()
    watch = Watch(await start_judge(server))
    await watch.look()
    server.swap(position_bias=bias)
    assert await watch.look() == pytest.approx(abs(bias))
    assert (watch.problem is not None) is alarms


async def test_the_alarm_is_raised_when_answers_change_behind_the_same_name_and_lowered_when_they_are_back(
    start_judge: StartJudge,
) -> None:
    server = Switch(scale=8.0)
    watch = Watch(await start_judge(server))
    await watch.look()
    server.swap(scale=1.0)
    drift = await watch.look()
    assert drift > DRIFT_ALARM
    assert watch.problem == (
        f"known pairs are judged {drift:.2f} nats away from the first answers: "
        "something has changed behind the name of this judge"
    )
    server.swap(scale=8.0)
    assert await watch.look() == 0.0
    assert watch.problem is None


async def test_the_noise_of_a_server_that_batches_is_no_drift_and_a_coarse_one_is(start_judge: StartJudge) -> None:
    server = Switch(noise=0.05, fresh_noise=True)
    watch = Watch(await start_judge(server))
    assert all([0 < await watch.look() <= DRIFT_ALARM for _ in range(5)])
    server.swap(noise=3.0, fresh_noise=True)
    assert await watch.look() > DRIFT_ALARM


async def test_drift_while_the_service_was_down_is_seen_in_its_first_round(start_judge: StartJudge) -> None:
    server, cache = Switch(), MemoryVerdictCache()
    await Watch(await start_judge(server, cache=cache)).look()
    server.swap(position_bias=1.5)
    assert await Watch(await start_judge(server, cache=cache)).look() == pytest.approx(1.5)


async def test_a_cache_that_forgets_does_not_move_the_baseline_of_a_running_service(start_judge: StartJudge) -> None:
    server, cache = Switch(), MemoryVerdictCache(max_entries=1)
    watch = Watch(await start_judge(server, cache=cache))
    await watch.look()
    server.swap(position_bias=1.5)
    assert [await watch.look() for _ in range(2)] == pytest.approx([1.5, 1.5])


async def test_another_judge_is_compared_with_its_own_first_answers(start_judge: StartJudge) -> None:
    server = Switch()
    judge = await start_judge(server)
    watch = Watch(judge)
    await watch.look()
    server.swap(position_bias=1.5)
    await watch.look()
    assert watch.problem is not None
    server.version = "2"
    assert await judge.check() is None
    assert await watch.look() == 0.0
    assert watch.problem is None


async def test_rounds_without_an_answer_change_nothing(start_judge: StartJudge) -> None:
    server = Switch()
    watch = Watch(await start_judge(server))
    server.is_away = True
    await watch.canary.look()
    assert (watch.drifts, watch.problem) == ([], None)
    server.is_away = False
    await watch.look()
    server.swap(position_bias=1.5)
    await watch.look()
    problem = watch.problem
    assert problem is not None
    server.swap(label_mass=0.01)  # off topic
    await watch.canary.look()
    assert (len(watch.drifts), watch.problem) == (2, problem)


async def test_a_judge_that_only_chooses_drifts_when_a_choice_flips(start_judge: StartJudge) -> None:
    server = Switch(log_probs=False)
    watch = Watch(await start_judge(server))
    assert await watch.look() == 0.0
    server.swap(log_probs=False, scale=1.0)  # less sure, with the same choices
    assert await watch.look() == 0.0
    server.swap(log_probs=False, position_bias=100.0)  # always the first
    assert await watch.look() == math.inf
    assert watch.problem is not None
    assert "the other way than at first" in watch.problem


class _BrokenOnce(MemoryVerdictCache):
    """A cache that cannot be read at first."""

    is_broken = True

    async def get_many(self, keys: Sequence[str]) -> dict[str, Answer]:
        if self.is_broken:
            self.is_broken = False
            raise OSError("the cache is away")
        return await super().get_many(keys)


@pytest.mark.parametrize("cache", [MemoryVerdictCache(), _BrokenOnce()], ids=["a good cache", "a broken cache"])
async def test_the_watch_begins_when_the_judge_is_there_and_outlives_what_goes_wrong(cache: VerdictCache) -> None:
    judge = Judge([OpenAIBackend.in_process(Switch())], cache=cache)
    drifts: asyncio.Queue[float] = asyncio.Queue()
    watching = asyncio.create_task(Canary(judge, every=EVERY, on_drift=drifts.put_nowait).run())
    try:
        await asyncio.sleep(0)
        assert drifts.empty()
        await judge.start()
        async with asyncio.timeout(20):
            assert [await drifts.get() for _ in range(3)] == [0.0, 0.0, 0.0]
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await judge.aclose()
