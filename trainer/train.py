"""The training loop: sample → score → advantage → update → log.

Owns the order of things. What a model is lives in `policies`, the maths in `algorithms`, where rewards come from in
`rewards`. Shape suffixes: P prompts, G candidates.
"""

import math
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import torch

from reward_client import RewardResult
from trainer.algorithms.advantages import Advantages, group_advantages
from trainer.checkpoint import Checkpoint, CheckpointStore, RunState
from trainer.config import TrainConfig
from trainer.data import Example, ExampleSampler, data_digest, read_run_examples, source_size
from trainer.distributed import Runtime
from trainer.ema import AdapterAverage
from trainer.errors import ConfigError, JudgesParted, RewardsUnavailable, TrainingDiverged
from trainer.evaluation import Evaluator, open_held_out_judge
from trainer.monitors import JsonlMonitor, Monitor, Monitors
from trainer.out_of_memory import explaining_out_of_memory
from trainer.policies import load_policy, lora
from trainer.records import ChangeRecord, PhaseSeconds, StepRecord, UpdateRecord, VerdictSummary
from trainer.rewards import Pinned, RewardSource
from trainer.rollout import Rollout, sample_rollout
from trainer.self_check import check_judge, check_policy
from trainer.trackers import make_trackers
from trainer.update import UpdateLosses, backward_rpo, nothing_learned


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a call of `train` ended."""

    step: int
    """Optimizer steps done."""
    is_complete: bool
    """False when it was asked to stop; start it again to go on."""
    pinned: Pinned
    """Who judged."""


_BETWEEN_EXCHANGES = timedelta(minutes=30)
"""More than any process computes without a word to the others: loading a model, a micro-batch, an evaluation."""


def never() -> bool:
    """Do not stop."""
    return False


def _say_nothing(text: str) -> None:
    pass


def train(
    config: TrainConfig,
    *,
    monitors: Sequence[Monitor] = (),
    should_stop: Callable[[], bool] = never,
    announce: Callable[[str], None] = _say_nothing,
) -> Outcome:
    """Train, or go on with, the run in `config.output_dir`.

    `should_stop` is asked between steps; when it says so, the run is saved and left. `announce` receives a line about
    what is used, once. Raises the errors of `trainer.errors`; whatever was done before is saved.

    Of several processes that `accelerate launch` started all call it, with the same recipe: all of them stop when one
    is asked to, all raise the error of one, and only the first one tells monitors, announces and writes.
    """
    longest_wait = timedelta(seconds=config.reward.max_wait_seconds + config.reward.deadline_seconds)
    with Runtime(patience=longest_wait + _BETWEEN_EXCHANGES) as runtime:
        say = announce if runtime.is_main else _say_nothing
        with explaining_out_of_memory(config, where=runtime.name):
            return runtime.together(lambda: _run(config, runtime, monitors, should_stop, say))


def _run(
    config: TrainConfig,
    runtime: Runtime,
    monitors: Sequence[Monitor],
    should_stop: Callable[[], bool],
    announce: Callable[[str], None],
) -> Outcome:
    with ExitStack() as stack:
        trainer = Trainer(config, runtime, monitors, stack, announce=announce)
        announce(trainer.description)
        trainer.check()
        return trainer.run(should_stop)


class Trainer:
    """One run: everything it holds, and the steps it takes."""

    def __init__(
        self,
        config: TrainConfig,
        runtime: Runtime,
        monitors: Sequence[Monitor],
        stack: ExitStack,
        *,
        announce: Callable[[str], None],
    ) -> None:
        self._config = config
        self._runtime = runtime
        _refuse_uneven_shares(config, runtime)
        self._examples, evaluated = read_run_examples(config)
        if runtime.is_sharded:
            _refuse_mixed_sources((*self._examples, *evaluated))
        if config.num_threads:
            torch.set_num_threads(config.num_threads)
        self._rewards = stack.enter_context(
            RewardSource(
                config.reward,
                run_id=_run_id(config.output_dir),
                num_threads=config.rollout.micro_batches,
                task=config.model.task,
                runtime=runtime,
            )
        )
        held_out = open_held_out_judge(config, self._rewards, run_id=_run_id(config.output_dir), runtime=runtime)
        if held_out is not None:
            stack.enter_context(held_out)
        trackers = make_trackers(config, announce=announce) if runtime.is_main else []
        for tracker in trackers:
            stack.callback(tracker.close)
        self._policy = load_policy(config, examples=(*self._examples, *evaluated), device=self._runtime.device)
        runtime.shard(self._policy.transformer)
        self._parameters = lora.trainable_parameters(self._policy.transformer)
        self._optimizer = torch.optim.AdamW(
            self._parameters, lr=config.optimizer.learning_rate, weight_decay=config.optimizer.weight_decay
        )
        self._sampler = ExampleSampler(self._examples, seed=config.seed)
        checkpoints = config.output_dir / "checkpoints"
        self._store = CheckpointStore(checkpoints, keep=config.checkpoint.keep, report=announce)
        told = [JsonlMonitor(config.output_dir / "metrics.jsonl"), *monitors, *trackers]
        self._monitor = Monitors(told if runtime.is_main else [])
        self._evaluator = Evaluator(
            self._policy,
            self._rewards,
            config.evaluation,
            examples=evaluated,
            trained_examples=self._examples,
            directory=config.output_dir / "evaluations",
            held_out=held_out,
            runtime=runtime,
            batch_size=config.rollout.images_at_once,
        )
        self._step = 0
        self._changes: tuple[ChangeRecord, ...] = ()
        self._resume()

    @property
    def description(self) -> str:
        """One line: who judges by what, and where the run stands."""
        pinned: Pinned = self._rewards.pinned
        start = f"resuming at step {self._step}" if self._step else "starting"
        start += "".join(f", with another {change.what}" for change in self._changes)
        size = sum(parameter.numel() for parameter in self._parameters)
        return (
            f"{start}: {size:,} adapter parameters, rubric {pinned.rubric.reference} "
            f"({pinned.rubric.digest[:19]}), judge {pinned.judge.model} ({pinned.judge.fingerprint[:19]})"
        )

    def check(self) -> None:
        """The self-check at the start of every run."""
        examples = self._sampler.batch(self._step, self._config.rollout.prompts_per_step)
        rollout = check_policy(self._policy, self._config, examples=examples, is_fresh=self._step == 0)
        self._runtime.once(lambda: check_judge(self._rewards, rollout))

    def run(self, should_stop: Callable[[], bool]) -> Outcome:
        """Take the remaining steps. When rewards stay away, what was done is saved before the error is raised."""
        self._monitor.start(first_step=self._step, num_steps=self._config.steps)
        for change in self._changes:
            self._monitor.log(change)
        try:
            return self._take_steps(should_stop, last_step=self._config.steps)
        except (RewardsUnavailable, JudgesParted):
            self._save()
            raise

    def _take_steps(self, should_stop: Callable[[], bool], *, last_step: int) -> Outcome:
        while True:
            if self._evaluator.is_due(self._step, last_step=last_step):
                self._evaluate()
            if self._step >= last_step:
                return Outcome(step=self._step, is_complete=True, pinned=self._rewards.pinned)
            self._monitor.log(self._take_step())
            self._step += 1
            stopping = self._runtime.any(should_stop())
            if stopping or self._step == last_step or self._step % self._config.checkpoint.every == 0:
                self._save()
            if stopping and self._step < last_step:
                return Outcome(step=self._step, is_complete=False, pinned=self._rewards.pinned)

    def _evaluate(self) -> None:
        with self._average.in_place() if self._average else nullcontext():
            record = self._evaluator.evaluate(self._step, is_average=self._average is not None)
        self._monitor.log(record)
        if self._config.checkpoint.keep_best and self._runtime.once(self._evaluator.liked_best) == self._step:
            self._save(is_best=True)
        alarm = self._runtime.once(self._evaluator.alarm)
        if alarm is None:
            return
        self._monitor.log(alarm)
        if self._config.evaluation.stop_on_alarm and self._step < self._config.steps:
            raise JudgesParted(
                f"since step {alarm.since_step} the training judge's win rate changed by {alarm.training_change:+.3f}, "
                f"the held-out judge's by {alarm.held_out_change:+.3f}; evaluation.stop_on_alarm=false goes on"
            )

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
        """Each micro-batch is posted for reward as soon as it is decoded, while the next one is sampled.

        The processes take the micro-batches in turn. What is drawn depends on the group alone, so it is the same for
        any number of them.
        """
        config = self._config.rollout
        examples = self._sampler.batch(self._step, config.prompts_per_step)
        size = config.groups_at_once
        rollouts, pending = [], []
        for first in self._runtime.share(range(0, config.prompts_per_step, size)):
            sample = partial(
                sample_rollout,
                self._policy,
                examples[first : first + size],
                config=config,
                seed=self._config.seed,
                step=self._step,
                first_group=first,
            )
            rollout = self._runtime.together(sample)
            pending.append(self._rewards.post(rollout, step=self._step))
            rollouts.append(rollout)
        return rollouts, pending

    def _update(self, rollouts: Sequence[Rollout], advantages: Advantages, *, num_judged: int) -> UpdateRecord:
        own = backward_rpo(
            self._policy,
            rollouts,
            advantages,
            num_judged=num_judged,
            config=self._config,
            backward=self._runtime.backward,
            share=self._runtime.share,
        )
        if own is None:
            return nothing_learned(advantages)
        losses = UpdateLosses.total(self._runtime.gather([own]))
        self._refuse_infinite(losses.loss, what="loss")
        self._runtime.sum_gradients(self._parameters)
        grad_norm = self._runtime.clip_gradients(self._parameters, max_norm=self._config.optimizer.max_grad_norm)
        self._refuse_infinite(grad_norm, what="gradient")
        for group in self._optimizer.param_groups:
            group["lr"] = self._learning_rate()
        self._optimizer.step()
        self._refuse_infinite(lora.norm(self._parameters), what="adapter's norm")
        self._optimizer.zero_grad()
        if self._average is not None:
            self._average.update(self._step)
        return losses.record(grad_norm)

    def _refuse_infinite(self, value: float, *, what: str) -> None:
        """On all processes alike, and before anything of it is saved."""
        if not math.isfinite(value):
            raise TrainingDiverged(f"the {what} is not finite at step {self._step}; the last checkpoint is unharmed")

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

    def _save(self, *, is_best: bool = False) -> None:
        if self._step == 0 or not self._runtime.is_main:
            return  # nothing has been learned yet, or another process writes it
        self._store.save(
            Checkpoint(
                state=self._state(),
                adapter=self._policy.adapter_state(),
                optimizer=self._optimizer.state_dict(),
                ema=self._average.state() if self._average else None,
            )
        )
        if is_best:
            self._store.mark_best(self._step)

    def _resume(self) -> None:
        checkpoint = self._runtime.once(self._store.newest)
        if checkpoint is None:
            self._policy.load_adapter_state(self._runtime.once(self._policy.adapter_state))  # one start for all
            self._average = AdapterAverage.of(self._policy, self._parameters, self._config.ema)
            return
        checkpoint.state.refuse_other(self._state(), accept=self._config.checkpoint.accept_changes)
        self._changes = checkpoint.state.changes_to(self._state())
        self._policy.load_adapter_state(checkpoint.adapter)
        self._average = AdapterAverage.of(self._policy, self._parameters, self._config.ema, state=checkpoint.ema)
        self._optimizer.load_state_dict(checkpoint.optimizer)
        self._step = checkpoint.state.step


def _refuse_uneven_shares(config: TrainConfig, runtime: Runtime) -> None:
    if config.rollout.micro_batches % runtime.num_processes:
        raise ConfigError(
            f"rollout.micro_batches ({config.rollout.micro_batches}) must be a multiple of the number of processes "
            f"({runtime.num_processes})"
        )


def _refuse_mixed_sources(examples: Sequence[Example]) -> None:
    """Where all processes make every forward pass together: sources of several sizes take one of a pass each."""
    sizes = {tuple(source_size(source) for source in example.sources) for example in examples}
    if len(sizes) > 1:
        raise ConfigError(
            "with FSDP2, source images must all be of one size, and as many in every row; bring them to one size, or "
            "launch without FSDP2"
        )


def _run_id(output_dir: Path) -> str:
    """The directory's name, in the characters that the service takes for an id."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", output_dir.resolve().name)[:128] or "run"
