"""The loop of RPO's reference implementation, stated again in its plainest form: what the trainer is measured against.

One candidate per forward pass, in sampling and in the update, one request per pair that nobody waits for in the
meantime with anything else to do, a float32 base. Everything that is not the order of work is the trainer's own: the
model, the sampler, the encoded prompts, the judge, the connection that stays open. The one rule: nothing here is slower
than it has to be. What asking as the reference does costs, a reason in words, is `benchmarks.judging`'s business.

Shape suffixes: B = 1 candidate, N tokens, D channels.
"""

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from arr.quiet import quiet_model_libraries
from benchmarks.step_seconds import Clock, Measured
from reward_client import CandidateGroup, RewardClient
from shared_schemas.reward import RewardScheme, Scheme
from shared_schemas.rubrics import RubricIdentity
from trainer.algorithms.sde import STEP_RULES, gaussian_log_prob
from trainer.config import TrainConfig
from trainer.data import Example, ExampleSampler, generator, read_run_examples
from trainer.policies import load_policy, lora
from trainer.policies.base import Conditioning, Policy


@dataclass(frozen=True, kw_only=True, slots=True)
class _Transition:
    index: int
    latents: Tensor
    next_latents: Tensor
    log_prob: float


def measure_reference(config: TrainConfig) -> Measured:
    """Train for `config.steps` steps."""
    quiet_model_libraries()
    torch.set_num_threads(config.num_threads)
    examples, _ = read_run_examples(config)
    policy = load_policy(config, examples=examples, device=torch.device("cpu"))
    with RewardClient(config.reward.url) as client:
        loop = _ReferenceLoop(config, policy, client, client.resolve_rubric(config.reward.rubric))
        sampler = ExampleSampler(examples, seed=config.seed)
        clocks = [
            loop.take_step(step, sampler.batch(step, config.rollout.prompts_per_step)) for step in range(config.steps)
        ]
    return Measured(steps=tuple(clock.as_step() for clock in clocks), answers=tuple(loop.answers))


class _ReferenceLoop:
    def __init__(self, config: TrainConfig, policy: Policy, client: RewardClient, rubric: RubricIdentity) -> None:
        self._config = config
        self._policy = policy
        self._client = client
        self._rubric = rubric
        self._parameters = lora.trainable_parameters(policy.transformer)
        self._optimizer = torch.optim.AdamW(self._parameters, lr=config.optimizer.learning_rate)
        self.answers: list[float] = []

    def take_step(self, step: int, examples: tuple[Example, ...]) -> Clock:
        """Pair by pair: sample both, ask, wait, accumulate the gradients of both; one optimizer step for all."""
        clock = Clock()
        for group, example in enumerate(examples):
            source = generator(self._config.seed, "reference", step, group)
            conditioning = self._policy.conditioning([example])
            noise = torch.randn((1, *self._policy.latent_shape), generator=source)
            trajectories, images = [], []
            for _ in range(2):
                with clock.lap("sample"):
                    latents, trajectory = self._sample(noise, conditioning, source)
                with clock.lap("decode"):
                    images.append(self._policy.decode(latents)[0])
                trajectories.append(trajectory)
            with clock.lap("judge_wait"):
                advantages = self._ask(example, images)
            with clock.lap("update"):
                for trajectory, advantage in zip(trajectories, advantages, strict=True):
                    self._accumulate(trajectory, advantage, conditioning, num_pairs=len(examples))
        with clock.lap("update"):
            torch.nn.utils.clip_grad_norm_(self._parameters, self._config.optimizer.max_grad_norm)
            self._optimizer.step()
            self._optimizer.zero_grad()
        return clock

    @torch.no_grad()
    def _sample(
        self, latents: Tensor, conditioning: Conditioning, source: torch.Generator
    ) -> tuple[Tensor, list[_Transition]]:
        trajectory = []
        for index in range(len(self._policy.sigmas) - 1):
            mean, std = self._step(latents, index, conditioning)
            if std == 0.0:
                latents = mean
                continue
            next_latents = mean + std * torch.randn(mean.shape, generator=source)
            log_prob = float(gaussian_log_prob(next_latents, mean, std, reduction="mean"))
            trajectory.append(_Transition(index=index, latents=latents, next_latents=next_latents, log_prob=log_prob))
            latents = next_latents
        return latents, trajectory

    def _ask(self, example: Example, images: list[Tensor]) -> list[float]:
        """One pair, and nothing else until it is answered; a pair without a winner moves nothing."""
        reward, begun = self._config.reward, time.perf_counter()
        result = self._client.reward(
            [CandidateGroup(example.prompt, tuple(images), id="pair")],
            rubric=self._rubric,
            reward=RewardScheme(scheme=Scheme.BINARY, preferred=reward.preferred, dispreferred=reward.dispreferred),
            tie_margin=reward.tie_margin,
        )
        self.answers.append(time.perf_counter() - begun)
        return [0.0 if math.isnan(value) else float(value) for value in result.rewards[0]]

    def _accumulate(
        self, trajectory: list[_Transition], advantage: float, conditioning: Conditioning, *, num_pairs: int
    ) -> None:
        clip = self._config.loss.clip_range
        for transition in trajectory:
            mean, std = self._step(transition.latents, transition.index, conditioning)
            log_prob = gaussian_log_prob(transition.next_latents, mean, std, reduction="mean")
            ratio = (log_prob - transition.log_prob).exp()
            loss = torch.maximum(-advantage * ratio, -advantage * ratio.clamp(1.0 - clip, 1.0 + clip))
            (loss.sum() / (2 * num_pairs * len(trajectory))).backward()

    def _step(self, latents: Tensor, index: int, conditioning: Conditioning) -> tuple[Tensor, float]:
        sigmas, rollout = self._policy.sigmas, self._config.rollout
        velocity = self._policy.velocity(latents, index, conditioning)
        transition = STEP_RULES[rollout.step](latents, velocity, sigmas[index], sigmas[index + 1], rollout.eta)
        return transition.mean_BND, transition.std
