"""One run: the trainer's own sampling, advantages and update, scored in this process.

Owns the short loop around them; it writes no checkpoints and needs no service, so that a hundred runs fit into hours of
one core.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from arr.demo.ground_truth import GroundTruth
from arr.demo.shapes import PROMPTS, TRAIN_PROMPTS
from examples.compare_presets.plan import JUDGES, Arm, Run, arm_named, recipe
from examples.compare_presets.scoring import Scored, Scorer
from shared_schemas.rubrics import RubricContent
from trainer.algorithms.advantages import group_advantages
from trainer.config import TrainConfig
from trainer.data import Example, ExampleSampler, generator
from trainer.policies import load_policy
from trainer.policies.base import Policy
from trainer.policies.lora import trainable_parameters
from trainer.rollout import Rollout, sample_deterministic, sample_rollout
from trainer.update import backward_rpo

_NOISES = 12
_EVALUATION_SEED = 10_000
_BATCH = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """Tuned against base on 15 prompts and 12 noises, by the judge without noise, and by the truth."""

    step: int
    win_rate: float
    """Ties count half."""
    win_rate_held_out: float
    truth: float
    """Share of right, clean drawings."""
    truth_held_out: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What a run came to; one JSON line."""

    key: str
    run: dict[str, str | int | float]
    scores: list[dict[str, float]] = field(default_factory=list)
    """Half-way, and at the end."""
    base_truth: float
    num_images: int
    num_comparisons: int
    tied: float
    """Share of groups."""
    wrong: float
    """Share of comparisons in which the judge named the loser; those without noise inside the tie band left out."""
    clipped: float
    max_ratio_error: float
    grad_norm: float
    seconds: float


class Trial:
    """A run under way."""

    def __init__(self, run: Run, *, model: Path, rubric: RubricContent, truth: GroundTruth) -> None:
        self._run, self._truth = run, truth
        self._arm: Arm = arm_named(run.arm)
        self._config = TrainConfig.model_validate(recipe(run, model=str(model)))
        self._examples = tuple(Example(prompt) for prompt in PROMPTS)
        self._policy: Policy = load_policy(self._config, examples=self._examples, device=torch.device("cpu"))
        self._parameters = trainable_parameters(self._policy.transformer)
        optimizer = self._config.optimizer
        self._optimizer = torch.optim.AdamW(
            self._parameters, lr=optimizer.learning_rate, weight_decay=optimizer.weight_decay
        )
        self._sampler = ExampleSampler([Example(prompt) for prompt in TRAIN_PROMPTS], seed=run.seed)
        self._judge = Scorer(rubric, JUDGES[run.judge])
        self._sound_judge = Scorer(rubric, JUDGES["sound"])
        self._scored: list[Scored] = []
        self._updates: list[tuple[float, float, float]] = []
        """Clipped fraction, largest ratio error, gradient norm."""

    def finish(self) -> Result:
        """Train to the end."""
        start = time.perf_counter()
        with self._policy.adapter_off():
            base = self._images()
        scores = []
        for step in range(self._config.steps):
            self._step(step)
            if step + 1 in {self._config.steps // 2, self._config.steps}:
                scores.append(asdict(self._evaluate(step + 1, base)))
        margins = [pair for scored in self._scored for pair in zip(scored.margins, scored.sound_margins, strict=True)]
        clear = [judged * sound < 0 for judged, sound in margins if abs(sound) >= 0.05]  # nats, the tie band
        clipped, errors, norms = zip(*self._updates, strict=True)
        return Result(
            key=self._run.key,
            run=asdict(self._run),
            scores=scores,
            base_truth=float(self._right(base).mean()),
            num_images=len(self._scored) * self._arm.num_candidates,
            num_comparisons=len(margins),
            tied=fmean(scored.is_tied for scored in self._scored),
            wrong=fmean(clear),
            clipped=fmean(clipped),
            max_ratio_error=max(errors),
            grad_norm=fmean(norms),
            seconds=time.perf_counter() - start,
        )

    def _step(self, step: int) -> None:
        config = self._config
        rollouts = self._sample(step)
        scored = [group for rollout in rollouts for group in self._score(rollout, step)]
        self._scored += scored
        advantages = group_advantages(
            torch.stack([group.rewards_G for group in scored]),
            baseline=config.loss.baseline,
            scale=config.loss.scale,
            clip=config.loss.advantage_clip,
        )
        losses = backward_rpo(
            self._policy,
            rollouts,
            advantages,
            num_judged=len(scored),
            config=config,
            backward=lambda loss: loss.backward(),
        )
        if losses is None:
            return
        norm = float(torch.nn.utils.clip_grad_norm_(self._parameters, config.optimizer.max_grad_norm))
        warm = min(1.0, (step + 1) / (config.optimizer.warmup_steps + 1))
        for group in self._optimizer.param_groups:
            group["lr"] = config.optimizer.learning_rate * warm
        self._optimizer.step()
        self._optimizer.zero_grad()
        record = losses.record(norm)
        self._updates.append((record.clipped_fraction, record.max_ratio_error, norm))

    def _sample(self, step: int) -> list[Rollout]:
        config = self._config.rollout
        examples = self._sampler.batch(step, config.prompts_per_step)
        size = config.prompts_per_step // config.micro_batches
        return [
            sample_rollout(
                self._policy,
                examples[first : first + size],
                config=config,
                seed=self._config.seed,
                step=step,
                first_group=first,
            )
            for first in range(0, config.prompts_per_step, size)
        ]

    def _score(self, rollout: Rollout, step: int) -> list[Scored]:
        groups = rollout.images_B3HW.split(self._arm.num_candidates)
        return [
            self._judge.score(
                example.prompt,
                list(images),
                reward=self._config.reward,
                one_order=self._arm.one_order,
                source=generator(self._config.seed, "judge", group_id),
            )
            for example, images, group_id in zip(rollout.examples, groups, rollout.group_ids, strict=True)
        ]

    def _evaluate(self, step: int, base: Tensor) -> Scores:
        tuned = self._images()
        reward = self._config.reward.model_copy(update={"tie_margin": None, "preferred": 1.0, "dispreferred": 0.0})
        reward = reward.model_copy(update={"scheme": None})
        pairs = zip(_prompts(), tuned, base, strict=True)
        wins = [
            self._sound_judge.score(prompt, [new, old], reward=reward, one_order=False, source=torch.Generator())
            for prompt, new, old in pairs
        ]
        won = np.array([0.5 if pair.is_tied else float(pair.rewards_G[0]) for pair in wins])
        right, held_out = self._right(tuned), np.array([prompt not in TRAIN_PROMPTS for prompt in _prompts()])
        return Scores(
            step=step,
            win_rate=float(won.mean()),
            win_rate_held_out=float(won[held_out].mean()),
            truth=float(right.mean()),
            truth_held_out=float(right[held_out].mean()),
        )

    @torch.no_grad()
    def _images(self) -> Tensor:
        noises = [generator(_EVALUATION_SEED, "evaluation", noise) for noise in range(_NOISES)]
        latents = [torch.randn(self._policy.latent_shape, generator=source) for source in noises]
        rows: Sequence[str] = _prompts()
        batches = []
        for first in range(0, len(rows), _BATCH):
            prompts = rows[first : first + _BATCH]
            conditioning = self._policy.conditioning([Example(prompt) for prompt in prompts])
            chosen = torch.stack([latents[index % _NOISES] for index in range(first, first + len(prompts))])
            batches.append(sample_deterministic(self._policy, chosen, conditioning))
        return torch.cat(batches)

    def _right(self, images_B3HW: Tensor) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        pixels = (images_B3HW * 255).round().byte().permute(0, 2, 3, 1).numpy()
        return np.asarray(self._truth.matches(pixels, _prompts()))


def _prompts() -> list[str]:
    """The prompt of every evaluated image, those of one prompt together."""
    return [prompt for prompt in PROMPTS for _ in range(_NOISES)]
