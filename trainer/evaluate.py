"""Tuned against base, on fixed prompts and noises, judged by the rubric the run is trained on.

Shape suffixes: B images, H and W pixels.
"""

import io
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from PIL import Image
from torch import Tensor

from shared_schemas.reward import GroupResult, Status
from trainer.config import EvaluationConfig
from trainer.data import Example, generator
from trainer.errors import RewardsUnavailable
from trainer.files import write_whole
from trainer.policies.base import Policy
from trainer.records import EvaluationRecord, WinRate, mean_of_known
from trainer.rewards import RewardSource, candidate_group
from trainer.rollout import sample_deterministic

_BATCH = 36
"""Images per forward pass and groups per reward request."""


Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One fixed (example, noise)."""

    example: Example
    noise: int
    is_held_out: bool


class Evaluator:
    """Samples the same (prompt, noise) grid from base and tuned model and has the pairs judged."""

    def __init__(
        self,
        policy: Policy,
        rewards: RewardSource,
        config: EvaluationConfig,
        *,
        examples: Sequence[Example],
        trained_examples: Sequence[Example],
        directory: Path,
    ) -> None:
        self._policy = policy
        self._rewards = rewards
        self._config = config
        self._directory = directory
        trained = set(trained_examples)
        self._samples = [
            Sample(example=example, noise=noise, is_held_out=example not in trained)
            for example in examples
            for noise in range(config.images_per_prompt)
        ]
        self._base_B3HW: Tensor | None = None

    def is_due(self, step: int, *, last_step: int) -> bool:
        """Whether to evaluate after `step` optimizer steps."""
        return bool(self._samples) and (step % self._config.every == 0 or step == last_step)

    def evaluate(self, step: int) -> EvaluationRecord:
        """Win rates after `step` optimizer steps; also writes the images as a lossless PNG grid.

        Raises `RewardsUnavailable` like `RewardSource.collect`, and when no pair at all was judged.
        """
        start = time.perf_counter()
        if self._base_B3HW is None:
            with self._policy.adapter_off():
                self._base_B3HW = self._images()
            self._save_grid(self._base_B3HW, "base")
        tuned_B3HW = self._images()
        self._save_grid(tuned_B3HW, f"step-{step:06d}")
        results = self._judge(tuned_B3HW, self._base_B3HW, step)
        self._save_verdicts(results, f"step-{step:06d}")
        overall, held_out = win_rates(results, self._samples)
        return EvaluationRecord(
            step=step,
            overall=overall,
            held_out=held_out,
            failed=sum(result.status is Status.FAILED for result in results),
            seconds=time.perf_counter() - start,
        )

    @torch.no_grad()
    def _images(self) -> Tensor:
        batches = []
        for samples in _chunks(self._samples):
            noises = torch.stack([self._noise(sample) for sample in samples]).to(self._policy.device)
            conditioning = self._policy.conditioning([sample.example for sample in samples])
            batches.append(sample_deterministic(self._policy, noises, conditioning))
        return torch.cat(batches)

    def _noise(self, sample: Sample) -> Tensor:
        """Standard normal [N, D]; the same for every prompt, so that a column of the grid shares its noise."""
        source = generator(self._config.seed, "evaluation", sample.noise)
        return torch.randn(self._policy.latent_shape, generator=source)

    def _judge(self, tuned_B3HW: Tensor, base_B3HW: Tensor, step: int) -> tuple[GroupResult, ...]:
        groups = [
            candidate_group(sample.example, (tuned, base), id_=f"evaluation-{step}-{index}")
            for index, (sample, tuned, base) in enumerate(zip(self._samples, tuned_B3HW, base_B3HW, strict=True))
        ]
        pending = [self._rewards.post_groups(batch, step=step) for batch in _chunks(groups)]
        return self._rewards.collect(pending).results

    def _save_verdicts(self, results: Sequence[GroupResult], name: str) -> None:
        """One JSON line per pair, in the order of the grid's cells; in each, candidate 0 is the tuned image."""
        lines = [
            json.dumps(
                {
                    "prompt": sample.example.prompt,
                    "noise": sample.noise,
                    "is_held_out": sample.is_held_out,
                    "result": result.model_dump(mode="json"),
                }
            )
            + "\n"
            for sample, result in zip(self._samples, results, strict=True)
        ]
        write_whole(self._directory / f"{name}.jsonl", "".join(lines).encode())

    def _save_grid(self, images_B3HW: Tensor, name: str) -> None:
        """One row per prompt, one column per noise; no margins, so that the grid can be cut up again."""
        grid_RC3HW = images_B3HW.reshape(-1, self._config.images_per_prompt, *images_B3HW.shape[1:])
        grid_HW3 = grid_RC3HW.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
        png = io.BytesIO()
        Image.fromarray((grid_HW3 * 255).round().byte().numpy()).save(png, format="PNG")
        write_whole(self._directory / f"{name}.png", png.getvalue())


def win_rates(results: Sequence[GroupResult], samples: Sequence[Sample]) -> tuple[WinRate, WinRate | None]:
    """On all prompts, and on held-out ones: None when none of those was judged.

    Raises `RewardsUnavailable` when nothing was judged.
    """
    pairs = zip(results, samples, strict=True)
    judged = [(result, sample) for result, sample in pairs if result.status is not Status.FAILED]
    if not judged:
        raise RewardsUnavailable(f"none of the {len(results)} pairs of the evaluation was judged")
    held_out = [result for result, sample in judged if sample.is_held_out]
    return win_rate([result for result, _ in judged]), win_rate(held_out) if held_out else None


def win_rate(results: Sequence[GroupResult]) -> WinRate:
    """Win rate of the first candidate over all judged groups, ties counting half.

    The 95 % interval is Wilson's with half-wins; as ties vary less than coin flips it is a little wide, never narrow.
    Raises `ValueError` when nothing was judged.
    """
    judged = [result for result in results if result.status is not Status.FAILED]
    if not judged:
        raise ValueError("no group was judged")
    wins = sum(result.ranks == (1, 2) for result in judged)
    losses = sum(result.ranks == (2, 1) for result in judged)
    ties = len(judged) - wins - losses
    rate = (wins + ties / 2) / len(judged)
    low, high = wilson_interval(rate, len(judged))
    margin = mean_of_known(pair.margin for result in judged for pair in result.pairs)
    return WinRate(wins=wins, ties=ties, losses=losses, win_rate=rate, low=low, high=high, mean_margin=margin)


def wilson_interval(rate: float, count: int, *, z: float = 1.959964) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927); `z` is the normal quantile, 1.96 for 95 %."""
    shrink = 1.0 + z**2 / count
    centre = (rate + z**2 / (2 * count)) / shrink
    half = z / shrink * math.sqrt(rate * (1 - rate) / count + z**2 / (4 * count**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (items[first : first + _BATCH] for first in range(0, len(items), _BATCH))
