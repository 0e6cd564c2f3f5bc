"""The training loop: sample → score → advantage → update → log.

Owns the order of things. What a model is lives in `policies`, the maths in `algorithms`, where rewards come from in
`rewards`. Shape suffixes: P prompts, G candidates.
"""

import math
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from reward_client import RewardResult
from trainer.algorithms.advantages import Advantages, group_advantages
from trainer.checkpoint import Checkpoint, CheckpointStore, RunState
from trainer.config import TrainConfig
from trainer.data import ExampleSampler, data_digest, read_examples
from trainer.distributed import Runtime
from trainer.errors import RewardsUnavailable, TrainingDiverged
from trainer.evaluate import Evaluator
from trainer.monitors import JsonlMonitor, Monitor, Monitors
from trainer.policies import load_policy, lora
from trainer.records import PhaseSeconds, StepRecord, UpdateRecord, VerdictSummary
from trainer.rewards import Pinned, RewardSource
from trainer.rollout import Rollout, sample_rollout
from trainer.self_check import check_judge, check_policy
from trainer.update import backward_rpo, nothing_learned


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a call of `train` ended."""

    step: int
    """Optimizer steps done."""
    is_complete: bool
    """False when it was asked to stop; start it again to go on."""
    pinned: Pinned
    """Who judged."""


def never() -> bool:
    """Do not stop."""
    return False


def train(
    config: TrainConfig,
    *,
    monitors: Sequence[Monitor] = (),
    should_stop: Callable[[], bool] = never,
    announce: Callable[[str], None] = lambda text: None,
) -> Outcome:
    """Train, or go on with, the run in `config.output_dir`.

    `should_stop` is asked between steps; when it says so, the run is saved and left. `announce` receives a line about
    what is used, once. Raises the errors of `trainer.errors`; whatever was done before is saved.
    """
    with ExitStack() as stack:
        trainer = Trainer(config, monitors, stack)
        announce(trainer.description)
        trainer.check()
        return trainer.run(should_stop)


class Trainer:
    """One run: everything it holds, and the steps it takes."""

    def __init__(self, config: TrainConfig, monitors: Sequence[Monitor], stack: ExitStack) -> None:
        self._config = config
        self._examples = read_examples(config.data.prompts)
        evaluated = read_examples(config.evaluation.prompts) if config.evaluation.prompts else ()
        if config.num_threads:
            torch.set_num_threads(config.num_threads)
        self._runtime = Runtime()
        self._rewards = stack.enter_context(
            RewardSource(config.reward, run_id=_run_id(config.output_dir), num_threads=config.rollout.micro_batches)
        )
        self._policy = load_policy(config, examples=(*self._examples, *evaluated), device=self._runtime.device)
        self._parameters = lora.trainable_parameters(self._policy.transformer)
        self._optimizer = torch.optim.AdamW(
            self._parameters, lr=config.optimizer.learning_rate, weight_decay=config.optimizer.weight_decay
        )
        self._sampler = ExampleSampler(self._examples, seed=config.seed)
        self._store = CheckpointStore(config.output_dir / "checkpoints", keep=config.checkpoint.keep)
        self._monitor = Monitors([JsonlMonitor(config.output_dir / "metrics.jsonl"), *monitors])
        self._evaluator = Evaluator(
            self._policy,
            self._rewards,
            config.evaluation,
            examples=evaluated,
            trained_examples=self._examples,
            directory=config.output_dir / "evaluations",
        )
        self._step = 0
        self._resume()

    @property
    def description(self) -> str:
        """One line: who judges by what, and where the run stands."""
        pinned: Pinned = self._rewards.pinned
        start = f"resuming at step {self._step}" if self._step else "starting"
        size = sum(parameter.numel() for parameter in self._parameters)
        return (
            f"{start}: {size:,} adapter parameters, rubric {pinned.rubric.reference} "
            f"({pinned.rubric.digest[:19]}), judge {pinned.judge.model} ({pinned.judge.fingerprint[:19]})"
        )

    def check(self) -> None:
        """The self-check at the start of every run."""
        examples = self._sampler.batch(self._step, self._config.rollout.prompts_per_step)
        rollout = check_policy(self._policy, self._config, examples=examples, is_fresh=self._step == 0)
        check_judge(self._rewards, rollout)

    def run(self, should_stop: Callable[[], bool]) -> Outcome:
        """Take the remaining steps. When rewards stay away, what was done is saved before the error is raised."""
        self._monitor.start(first_step=self._step, num_steps=self._config.steps)
        try:
            return self._take_steps(should_stop, last_step=self._config.steps)
        except RewardsUnavailable:
            self._save()
            raise

    def _take_steps(self, should_stop: Callable[[], bool], *, last_step: int) -> Outcome:
        while True:
            if self._evaluator.is_due(self._step, last_step=last_step):
                self._monitor.log(self._evaluator.evaluate(self._step))
            if self._step >= last_step:
                return Outcome(step=self._step, is_complete=True, pinned=self._rewards.pinned)
            self._monitor.log(self._take_step())
            self._step += 1
            stopping = should_stop()
            if stopping or self._step == last_step or self._step % self._config.checkpoint.every == 0:
                self._save()
            if stopping and self._step < last_step:
                return Outcome(step=self._step, is_complete=False, pinned=self._rewards.pinned)

    def _take_step(self) -> StepRecord:
        sample_start = time.perf_counter()
        rollouts, pending = self._sample()
        sample_seconds = time.perf_counter() - sample_start
        rewards = self._rewards.collect(pending)
        update_start = time.perf_counter()
        advantages = group_advantages(
            rewards.rewards_PG,
            baseline=self._config.loss.baseline,
            scale=self._config.loss.scale,
            clip=self._config.loss.advantage_clip,
        )
        update = self._update(rollouts, advantages, num_judged=rewards.num_judged)
        seconds = PhaseSeconds(
            sample=sample_seconds, judge_wait=rewards.wait_seconds, update=time.perf_counter() - update_start
        )
        return StepRecord(
            step=self._step,
            learning_rate=self._learning_rate(),
            verdicts=VerdictSummary.of(rewards.results),
            update=update,
            seconds=seconds,
            judge_wait_fraction=seconds.judge_wait / seconds.total,
            judge_calls=rewards.judge_calls,
        )

    def _sample(self) -> tuple[list[Rollout], list[Future[RewardResult]]]:
        """Each micro-batch is posted for reward as soon as it is decoded, while the next one is sampled."""
        config = self._config.rollout
        examples = self._sampler.batch(self._step, config.prompts_per_step)
        size = config.prompts_per_step // config.micro_batches
        rollouts, pending = [], []
        for first in range(0, config.prompts_per_step, size):
            rollout = sample_rollout(
                self._policy,
                examples[first : first + size],
                config=config,
                seed=self._config.seed,
                step=self._step,
                first_group=first,
            )
            pending.append(self._rewards.post(rollout, step=self._step))
            rollouts.append(rollout)
        return rollouts, pending

    def _update(self, rollouts: Sequence[Rollout], advantages: Advantages, *, num_judged: int) -> UpdateRecord:
        losses = backward_rpo(
            self._policy,
            rollouts,
            advantages,
            num_judged=num_judged,
            config=self._config,
            backward=self._runtime.backward,
        )
        if losses is None:
            return nothing_learned(advantages)
        grad_norm = self._runtime.clip_gradients(self._parameters, max_norm=self._config.optimizer.max_grad_norm)
        if not math.isfinite(grad_norm):
            raise TrainingDiverged(f"the gradient is not finite at step {self._step}; the last checkpoint is unharmed")
        for group in self._optimizer.param_groups:
            group["lr"] = self._learning_rate()
        self._optimizer.step()
        self._optimizer.zero_grad()
        return losses.record(grad_norm)

    def _learning_rate(self) -> float:
        """Linear warm-up, then constant: a function of the step, so there is no schedule to save."""
        optimizer = self._config.optimizer
        return optimizer.learning_rate * min(1.0, (self._step + 1) / (optimizer.warmup_steps + 1))

    def _state(self) -> RunState:
        return RunState(
            step=self._step,
            recipe=self._config.shaping_values(),
            data_digest=data_digest(self._examples),
            rubric_digest=self._rewards.pinned.rubric.digest,
            judge_fingerprint=self._rewards.pinned.judge.fingerprint,
        )

    def _save(self) -> None:
        if self._step == 0:
            return  # nothing has been learned yet
        self._store.save(
            Checkpoint(
                state=self._state(), adapter=self._policy.adapter_state(), optimizer=self._optimizer.state_dict()
            )
        )

    def _resume(self) -> None:
        checkpoint = self._store.newest()
        if checkpoint is None:
            return
        checkpoint.state.refuse_other(self._state())
        self._policy.load_adapter_state(checkpoint.adapter)
        self._optimizer.load_state_dict(checkpoint.optimizer)
        self._step = checkpoint.state.step


def _run_id(output_dir: Path) -> str:
    """The directory's name, in the characters that the service takes for an id."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", output_dir.resolve().name)[:128] or "run"
