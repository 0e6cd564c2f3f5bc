"""Tuned against base on fixed prompts and noises, judged by the training judge and, where there is one, a held-out one.

Owns the order of one evaluation. Every process draws and has judged its share; the main one writes. Shape suffixes:
B images, R prompts, C noises, H and W pixels.
"""

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from reward_client import RewardResult
from shared_schemas.reward import GroupResult, Status
from trainer.config import EvaluationConfig
from trainer.data import Example
from trainer.distributed import Runtime
from trainer.errors import RewardsUnavailable
from trainer.evaluation.alarm import Opinions, alarm, liked_best
from trainer.evaluation.diversity import diversity
from trainer.evaluation.files import EvaluationFiles, as_bytes
from trainer.evaluation.samples import batches, draw, sample_grid
from trainer.evaluation.win_rates import win_rate, win_rates
from trainer.policies.base import Policy
from trainer.records import AlarmRecord, EvaluationRecord, HeldOutJudge
from trainer.rewards import RewardSource, candidate_group


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldOutAnswer:
    """The held-out judge's answer at one evaluation, or why there is none."""

    results: tuple[GroupResult, ...] = ()
    problem: str | None = None


class Evaluator:
    """Draws the same (prompt, noise) grid from base and tuned model and has the pairs judged."""

    def __init__(
        self,
        policy: Policy,
        rewards: RewardSource,
        config: EvaluationConfig,
        *,
        examples: Sequence[Example],
        trained_examples: Sequence[Example],
        directory: Path,
        batch_size: int,
        held_out: RewardSource | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        """`batch_size` is the number of images that fit into memory; `held_out` judges what nobody trains on.

        `runtime` none = this process is the whole run.
        """
        self._policy = policy
        self._rewards = rewards
        self._held_out = held_out
        self._config = config
        self._runtime = runtime or Runtime()
        self._samples = sample_grid(examples, trained_examples, config)
        self._files = EvaluationFiles(directory=directory, samples=self._samples, num_noises=config.images_per_prompt)
        self._batches = batches(len(self._samples), num_processes=self._runtime.num_processes, largest=batch_size)
        self._own_base: list[Tensor] | None = None
        self._base_RC3HW = torch.empty(0)
        self._history: list[Opinions] | None = None

    def is_due(self, step: int, *, last_step: int) -> bool:
        """Whether to evaluate after `step` optimizer steps."""
        return bool(self._samples) and (step % self._config.every == 0 or step == last_step)

    def evaluate(self, step: int, *, is_average: bool = False) -> EvaluationRecord:
        """Win rates and diversity after `step` optimizer steps; writes the images and every verdict.

        `is_average` goes into the record: whether the adapter in place is the averaged one. Raises `RewardsUnavailable`
        like `RewardSource.collect`, and when no pair at all was judged; a held-out judge that gave no answer is in the
        record only, as the run does not live by it.
        """
        start = time.perf_counter()
        if self._own_base is None:
            with self._policy.adapter_off():
                self._own_base = self._runtime.together(self._draw)
            self._base_RC3HW = self._whole_grid(self._own_base)
            self._save_grid(self._base_RC3HW, "base")
        own_tuned = self._runtime.together(self._draw)
        tuned_RC3HW = self._whole_grid(own_tuned)
        self._save_grid(tuned_RC3HW, _name(step))
        results, held_out = self._judge(own_tuned, step)
        self._save_verdicts(results, held_out, step)
        overall, on_held_out_prompts = win_rates(results, self._samples)
        return EvaluationRecord(
            step=step,
            overall=overall,
            held_out=on_held_out_prompts,
            held_out_judge=self._held_out_judge(held_out),
            diversity=diversity(self._base_RC3HW, tuned_RC3HW),
            failed=sum(result.status is Status.FAILED for result in results),
            is_average=is_average,
            seconds=time.perf_counter() - start,
        )

    def alarm(self) -> AlarmRecord | None:
        """Whether the judges have parted at the last two evaluations."""
        return alarm(self._history or ())

    def liked_best(self) -> int | None:
        """The step that the held-out judge liked best until now; None while it likes none above the base."""
        return liked_best(self._history or ())

    def _draw(self) -> list[Tensor]:
        """Images of each batch of this process's share.

        All processes run the model equally often, as a sharded model demands: who has less to do draws the last batch
        of all and throws it away.
        """
        own = self._runtime.share(self._batches)
        idle = -(-len(self._batches) // self._runtime.num_processes) - len(own)
        drawn = [
            draw(self._policy, [self._samples[index] for index in batch], seed=self._config.seed)
            for batch in (*own, *self._batches[-1:] * idle)
        ]
        return drawn[: len(own)]

    def _whole_grid(self, own: Sequence[Tensor]) -> Tensor:
        """Of all processes, uint8 [R, C, 3, H, W]."""
        images_B3HW = torch.cat(self._runtime.gather_shares([as_bytes(batch) for batch in own]))
        return images_B3HW.reshape(-1, self._config.images_per_prompt, *images_B3HW.shape[1:])

    def _save_grid(self, images_RC3HW: Tensor, name: str) -> None:
        if self._runtime.is_main:
            self._files.save_grid(images_RC3HW, name)

    def _judge(self, own_tuned: Sequence[Tensor], step: int) -> tuple[tuple[GroupResult, ...], HeldOutAnswer | None]:
        """Both judges look at the same pairs at the same time."""
        pending = self._post(self._rewards, own_tuned, step)
        pending_held_out = [] if self._held_out is None else self._post(self._held_out, own_tuned, step)
        results = self._rewards.collect(pending, may_tie=True).results
        if self._held_out is None:
            return results, None
        try:
            return results, HeldOutAnswer(results=self._held_out.collect(pending_held_out, may_tie=True).results)
        except RewardsUnavailable as error:
            return results, HeldOutAnswer(problem=str(error))

    def _post(self, rewards: RewardSource, own_tuned: Sequence[Tensor], step: int) -> list[Future[RewardResult]]:
        own = self._runtime.share(self._batches)
        pending = []
        for batch, tuned, base in zip(own, own_tuned, self._own_base or (), strict=True):
            groups = [
                candidate_group(self._samples[index].example, pair, id_=f"evaluation-{step}-{index}")
                for index, *pair in zip(batch, tuned, base, strict=True)
            ]
            pending.append(rewards.post_groups(groups, step=step))
        return pending

    def _held_out_judge(self, answer: HeldOutAnswer | None) -> HeldOutJudge | None:
        if self._held_out is None or answer is None:
            return None
        judged = [result for result in answer.results if result.status is not Status.FAILED]
        return HeldOutJudge(
            rubric_digest=self._held_out.pinned.rubric.digest,
            judge_fingerprint=self._held_out.pinned.judge.fingerprint,
            overall=win_rate(judged) if judged else None,
            failed=len(answer.results) - len(judged),
            problem=answer.problem,
        )

    def _save_verdicts(self, results: Sequence[GroupResult], held_out: HeldOutAnswer | None, step: int) -> None:
        if not self._runtime.is_main:
            return
        self._files.save_verdicts(results, _name(step))
        if self._held_out is None or held_out is None or held_out.problem is not None:
            return
        judge = f"{self._held_out.pinned.rubric.digest} {self._held_out.pinned.judge.fingerprint}"
        if self._history is None:
            self._history = self._files.opinions(before=step, judge=judge)
        self._files.save_verdicts(held_out.results, f"{_name(step)}.held-out", judge=judge)
        self._history.append(
            Opinions(
                step=step,
                training_RC=self._files.outcomes(results),
                held_out_RC=self._files.outcomes(held_out.results),
            )
        )


def _name(step: int) -> str:
    return f"step-{step:06d}"
