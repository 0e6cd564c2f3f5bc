"""The trainer itself under measurement: its own loop, with the decoder's share of sampling told apart and, where asked,
without the overlap.

Owns two wrappers, around the policy and around the connection to the service; they measure and wait, nothing else.
"""

import os
import time
from collections.abc import Mapping
from concurrent.futures import Future, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, cast

from torch import Tensor

from arr.quiet import quiet_model_libraries
from benchmarks.step_seconds import Measured, StepSeconds
from reward_client import RewardResult
from trainer.config import TrainConfig
from trainer.distributed import Runtime
from trainer.policies.base import Policy
from trainer.records import Record, StepRecord
from trainer.rewards import RewardSource
from trainer.rollout import Rollout
from trainer.train import Trainer, never


@dataclass(kw_only=True, slots=True)
class _Watch:
    """A `Monitor` that has the trainer's own seconds, and takes apart what is added up in them."""

    decode: float = 0.0
    blocked: float = 0.0
    """Waiting inside of what the trainer takes for sampling."""
    steps: list[StepSeconds] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)

    def start(self, *, first_step: int, num_steps: int) -> None:
        """Nothing to do."""

    def log(self, record: Record) -> None:
        """One step is done."""
        if not isinstance(record, StepRecord):
            return
        self.steps.append(
            StepSeconds(
                sample=record.seconds.sample - self.decode - self.blocked,
                decode=self.decode,
                judge_wait=record.seconds.judge_wait + self.blocked,
                update=record.seconds.update,
            )
        )
        self.decode = self.blocked = 0.0


class _TimedPolicy:
    """A policy whose decoding is timed."""

    def __init__(self, policy: Policy, watch: _Watch) -> None:
        self._policy = policy
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._policy, name)

    def decode(self, latents_bnd: Tensor) -> Tensor:
        begun = time.perf_counter()
        images = self._policy.decode(latents_bnd)
        self._watch.decode += time.perf_counter() - begun
        return images


class _TimedRewards:
    """A connection whose answers are timed, and waited for at once where nothing shall overlap."""

    def __init__(self, rewards: RewardSource, watch: _Watch, *, overlaps: bool) -> None:
        self._rewards = rewards
        self._watch = watch
        self._overlaps = overlaps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rewards, name)

    def post(self, rollout: Rollout, *, step: int) -> Future[RewardResult]:
        begun = time.perf_counter()
        future = self._rewards.post(rollout, step=step)
        future.add_done_callback(lambda _: self._watch.answers.append(time.perf_counter() - begun))
        if not self._overlaps:
            wait([future])
            self._watch.blocked += time.perf_counter() - begun
        return future


class _MeasuredTrainer(Trainer):
    def __init__(
        self, config: TrainConfig, runtime: Runtime, watch: _Watch, stack: ExitStack, *, overlaps: bool
    ) -> None:
        super().__init__(config, runtime, [watch], stack, announce=lambda text: None)
        self._policy = cast(Policy, _TimedPolicy(self._policy, watch))
        self._rewards = cast(RewardSource, _TimedRewards(self._rewards, watch, overlaps=overlaps))


def measure_product(config: TrainConfig, overlaps: bool, environment: Mapping[str, str]) -> Measured:
    """Train for `config.steps` steps, in a process that `environment` may make one of several; on the CPU.

    The first of several processes has the steps of all, and the answers to its own requests.
    """
    quiet_model_libraries()
    os.environ.update(environment, CUDA_VISIBLE_DEVICES="", ACCELERATE_USE_CPU="true")
    watch = _Watch()
    with Runtime() as runtime, ExitStack() as stack:
        _MeasuredTrainer(config, runtime, watch, stack, overlaps=overlaps).run(never)
    return Measured(steps=tuple(watch.steps), answers=tuple(watch.answers))
