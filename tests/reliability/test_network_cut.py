"""The network between a training run and its rewards is cut in the middle of a step: the run waits, or stops.

`RELIABILITY_SCALE` is how many times two seconds the cut lasts.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from services.reward_api.app import create_app
from services.reward_api.settings import Settings
from tests.reliability.cable import Cable, cable_to
from trainer.checkpoint import CheckpointStore
from trainer.config import TrainConfig
from trainer.errors import RewardsUnavailable
from trainer.train import train

STEPS = 2

IN_STEP_1, IN_STEP_2 = 1 + 3, 1 + 4 + 3
"""Which request for rewards: the self-check makes one, each step four."""

SILENCE = "nothing comes through"

CUTS: dict[str, Callable[[Cable], None]] = {"connections reset": Cable.cut, SILENCE: Cable.pull}


class Cutter:
    """The service; its cable is cut when the `at`-th request for rewards has come and is not answered yet."""

    def __init__(self, service: ASGIApp, *, at: int) -> None:
        self._service = service
        self._at = at
        self._loop = asyncio.get_running_loop()
        self._num_asked = 0
        self._happened = asyncio.Event()
        self.happened_at = 0.0
        self.cut: Callable[[], None] = lambda: None

    async def happened(self, training: "asyncio.Task[Any]") -> None:
        """Wait for it while the training lives."""
        waiting = asyncio.create_task(self._happened.wait())
        await asyncio.wait((training, waiting), return_when=asyncio.FIRST_COMPLETED)
        if training.done():
            waiting.cancel()
            await training

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path") == "/reward":
            self._num_asked += 1
            if self._num_asked == self._at:
                self.happened_at = time.monotonic()
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._cut(), self._loop))
        await self._service(scope, receive, send)

    async def _cut(self) -> None:
        self.cut()
        self._happened.set()


@asynccontextmanager
async def service_on_a_cable(
    serve, folder: Path, cut: str, *, at: int = IN_STEP_1
) -> AsyncIterator[tuple[Cable, Cutter]]:
    cutter = Cutter(create_app(Settings(data_dir=folder)), at=at)
    async with cable_to(serve(cutter)) as cable:
        cutter.cut = lambda: CUTS[cut](cable)
        yield cable, cutter


def steps_of(config: TrainConfig) -> list[dict[str, Any]]:
    lines = (config.output_dir / "metrics.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == "step"]


def curve(config: TrainConfig) -> list[Any]:
    """Every reward, and what was learned from it."""
    return [(step["step"], step["update"], step["verdicts"]) for step in steps_of(config)]


@pytest.fixture
def recipe(make_config, tmp_path) -> Callable[..., TrainConfig]:
    """`recipe(name, url, …)`: four requests a step, and one for the self-check."""

    def make(name: str, url: str, **reward: Any) -> TrainConfig:
        config: TrainConfig = make_config(
            steps=STEPS,
            output_dir=tmp_path / name,
            reward={"url": url, "rubric": "t@none", **reward},
            checkpoint={"every": 10},
            evaluation={"prompts": None},
        )
        return config

    return make


@pytest.mark.parametrize("cut", CUTS)
async def test_a_run_whose_network_is_cut_waits_and_is_the_run_that_it_would_have_been(
    serve, recipe, tmp_path, scale, measured, cut: str
) -> None:
    whole = recipe("whole", serve(create_app(Settings(data_dir=tmp_path / "data"))))
    await asyncio.to_thread(train, whole)
    async with service_on_a_cable(serve, tmp_path / "other", cut, at=IN_STEP_1) as (cable, cutter):
        config = recipe("cut", f"http://127.0.0.1:{cable.port}")
        training = asyncio.create_task(asyncio.to_thread(train, config))
        await cutter.happened(training)
        await asyncio.sleep(2.0 * scale)
        num_steps_in_the_dark = len(steps_of(config))
        cable.mend()
        mended_at = time.monotonic()
        outcome = await training
    steps = steps_of(config)
    measured["cut for, s"] = round(mended_at - cutter.happened_at, 1)
    measured["stood still, s"] = round(max(step["seconds"]["judge_wait"] for step in steps), 1)
    assert outcome.is_complete
    assert num_steps_in_the_dark == 0  # it was cut in the first
    assert [step["verdicts"]["failed"] for step in steps] == [0] * STEPS
    assert curve(config) == curve(whole)


async def test_a_run_whose_network_stays_cut_stops_with_a_checkpoint_and_goes_on_from_it(
    serve, recipe, tmp_path, scale, measured
) -> None:
    whole = recipe("whole", serve(create_app(Settings(data_dir=tmp_path / "data"))))
    await asyncio.to_thread(train, whole)
    async with service_on_a_cable(serve, tmp_path / "other", SILENCE, at=IN_STEP_2) as (
        cable,
        cutter,
    ):
        patience = {"deadline_seconds": 5.0 * scale, "max_wait_seconds": 1.0 * scale}
        config = recipe("cut", f"http://127.0.0.1:{cable.port}", **patience)
        with pytest.raises(RewardsUnavailable, match="gave no rewards: no answer from the service"):
            await asyncio.to_thread(train, config)
        measured["stopped after, s"] = round(time.monotonic() - cutter.happened_at, 1)
        newest = CheckpointStore(config.output_dir / "checkpoints", keep=1).newest()
        assert newest is not None
        assert newest.state.step == 1
        assert len(steps_of(config)) == 1
        cable.mend()
        assert (await asyncio.to_thread(train, config)).is_complete
    assert curve(config) == curve(whole)
