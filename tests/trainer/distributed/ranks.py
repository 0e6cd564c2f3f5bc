"""Processes of one run on this machine, as a launcher starts them, forked from a server that has imported all once."""

import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from trainer.config import TrainConfig
from trainer.errors import TrainerError
from trainer.train import train

LIMIT_SECONDS = 300.0
"""How long processes may take; who still runs then waits for ever."""

FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(["tests.trainer.distributed.ranks"])


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How a process left `train`."""

    step: int | None = None
    is_complete: bool | None = None
    error: str | None = None
    said: tuple[str, ...] = ()
    """What it announced."""


def run_ranks(
    work: Callable[..., Any],
    arguments: Sequence[tuple[Any, ...]],
    *,
    port: int,
    environment: Mapping[str, str] | None = None,
) -> list[Any]:
    """What `work(*arguments[rank])` returns on each of the processes, which see each other as ranks of one run."""
    pipes, processes = [], []
    for rank, each in enumerate(arguments):
        receiver, sender = FORKING.Pipe(duplex=False)
        seen = _rank_environment(rank, len(arguments), port) | dict(environment or {})
        process = FORKING.Process(target=_report, args=(sender, seen, work, each))
        process.start()
        sender.close()
        pipes.append(receiver)
        processes.append(process)
    try:
        return [_received(pipe) for pipe in pipes]
    finally:
        for process in processes:
            process.kill()
            process.join()


def run_train(config: TrainConfig, stop_after: int | None = None) -> Ending:
    """Train; ask to stop after so many steps."""
    said: list[str] = []
    steps = iter(range(1, config.steps + 1))
    try:
        outcome = train(config, should_stop=lambda: next(steps) == stop_after, announce=said.append)
    except TrainerError as error:
        return Ending(error=f"{type(error).__name__}: {error}", said=tuple(said))
    return Ending(step=outcome.step, is_complete=outcome.is_complete, said=tuple(said))


def _rank_environment(rank: int, world_size: int, port: int) -> dict[str, str]:
    if world_size == 1:
        return {}
    return {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world_size),
        "LOCAL_WORLD_SIZE": str(world_size),
        "ACCELERATE_USE_CPU": "true",
    }


def _report(
    sender: Connection, environment: Mapping[str, str], work: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    os.environ.update(environment)
    sender.send(work(*arguments))


def _received(pipe: Connection) -> Any:
    if not pipe.poll(LIMIT_SECONDS):
        raise AssertionError(f"a process said nothing for {LIMIT_SECONDS:.0f} s")
    return pipe.recv()
