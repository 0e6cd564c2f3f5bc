"""The checks at step 0: a few seconds that keep a run from training on wrong numbers for days.

Each check raises `SelfCheckError` with the number that is off. Tolerances hold for float32 and the `mean` reduction; a
bfloat16 model gets the wider ones beside them.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from shared_schemas.reward import Status
from trainer.algorithms.sde import gaussian_kl, gaussian_log_ratio
from trainer.config import TrainConfig
from trainer.data import Example
from trainer.errors import SelfCheckError
from trainer.policies.base import Policy
from trainer.policies.lora import trainable_parameters
from trainer.rewards import RewardSource
from trainer.rollout import Rollout, mean_of_step, sample_deterministic, sample_rollout

_RATIO_TOLERANCE = {"float32": 1e-5, "bfloat16": 5e-5}
"""|ratio − 1| when a rollout is scored by the policy that made it (mean over dimensions).

Measured on the tiny FLUX and SD3, all samplers: exactly 0 in either dtype, as long as what was sampled together is
scored together. In other batches up to 7e-6 in float32 and 6e-6 in bfloat16. The mildest mistake, latents stored in
bfloat16: 1.2e-4 and 2.7e-4.
"""

_IMAGE_TOLERANCE = {"float32": 2e-3, "bfloat16": 0.1}
"""Largest difference of a pixel in [0, 1] to the diffusers pipeline's image. Measured as above: 1e-6 in float32, 1e-2
in bfloat16, where the pipeline rounds its latents between the steps and we do not."""

_PERTURBATION = 0.02
"""Standard deviation of the noise that is added to the adapter for a moment."""


def check_policy(policy: Policy, config: TrainConfig, *, examples: tuple[Example, ...], is_fresh: bool) -> Rollout:
    """Check sampling, ratios, reference and KL on one micro-batch; returns it. Leaves the policy as it was.

    The micro-batch has no window: any denoising step may be in that of a later training step.
    """
    whole = config.rollout.model_copy(update={"window": None})
    rollout = sample_rollout(
        policy, examples[: whole.groups_at_once], config=whole, seed=config.seed, step=0, first_group=0
    )
    _check_images(policy, rollout.examples[0], config)
    _check_ratio(policy, rollout, config)
    if is_fresh:
        _check_fresh_kl(policy, rollout, config)
    _check_reference(policy, rollout, config)
    return rollout


def check_judge(rewards: RewardSource, rollout: Rollout) -> None:
    """Have one pair judged: the address, the rubric, the image path and the judge work together.

    Raises `SelfCheckError` with the judge's reason, or `RewardsUnavailable` when the service did not answer.
    """
    result = rewards.probe(rollout.examples[0], tuple(rollout.images_B3HW[:2]))
    if result.status is Status.FAILED and result.error is not None:
        raise SelfCheckError(f"the judge did not judge the probe pair: {result.error.type}: {result.error.detail}")


def _check_images(policy: Policy, example: Example, config: TrainConfig) -> None:
    latents = torch.randn(1, *policy.latent_shape, generator=torch.Generator().manual_seed(0))
    latents = latents.to(policy.device)
    conditioning = policy.conditioning([example])
    ours = sample_deterministic(policy, latents, conditioning)
    theirs = policy.pipeline_images(latents, conditioning).cpu()
    _expect_below(
        _IMAGE_TOLERANCE[config.model.dtype],
        float((ours - theirs).abs().max()),
        "the sampler at eta = 0 does not draw the diffusers pipeline's image; largest pixel difference",
    )


def _check_ratio(policy: Policy, rollout: Rollout, config: TrainConfig) -> None:
    """With gradient, as in the update: checkpointing, compilation and kernels may differ from those that sampled."""
    for step in rollout.steps:
        mean = mean_of_step(policy, step, rollout.conditioning, config.rollout).detach()
        log_ratio = gaussian_log_ratio(step.next_latents_BND, mean, step.mean_BND, step.std, reduction="mean")
        _expect_below(
            _RATIO_TOLERANCE[config.model.dtype],
            float((log_ratio.exp() - 1.0).abs().max()),
            f"the ratio is not 1 at denoising step {step.index} although nothing was updated; |ratio - 1|",
        )


@torch.no_grad()
def _check_fresh_kl(policy: Policy, rollout: Rollout, config: TrainConfig) -> None:
    step = rollout.steps[0]
    with policy.adapter_off():
        reference = mean_of_step(policy, step, rollout.conditioning, config.rollout)
    kl = float(gaussian_kl(step.mean_BND, reference, step.std, reduction="mean").max())
    _expect_below(_RATIO_TOLERANCE[config.model.dtype], kl, "a fresh adapter changes the model; KL to the base")


def _check_reference(policy: Policy, rollout: Rollout, config: TrainConfig) -> None:
    """With the adapter nudged, the reference must stay put and the KL must pull back."""
    step, saved = rollout.steps[0], policy.adapter_state()

    def mean() -> Tensor:
        return mean_of_step(policy, step, rollout.conditioning, config.rollout)

    before = _reference(policy, mean)
    source = torch.Generator().manual_seed(0)
    parameters = trainable_parameters(policy.transformer)
    try:
        with torch.no_grad():
            for parameter in parameters:
                noise = torch.randn(parameter.shape, generator=source) * _PERTURBATION
                parameter.add_(noise.to(parameter.device))
        after = _reference(policy, mean)
        kl = gaussian_kl(mean(), after, step.std, reduction="mean").sum()
        gradients = torch.autograd.grad(kl, parameters, allow_unused=True) if kl.requires_grad else ()
    finally:
        policy.load_adapter_state(saved)
    moved = float((after - before).abs().max())
    _expect_below(_RATIO_TOLERANCE[config.model.dtype], moved, "the reference moves with the adapter; largest change")
    if not any(gradient is not None and gradient.abs().max() > 0 for gradient in gradients):
        raise SelfCheckError(f"the KL to the reference has no gradient (KL = {kl.item():.3e} with a nudged adapter)")


@torch.no_grad()
def _reference(policy: Policy, mean: Callable[[], Tensor]) -> Tensor:
    with policy.adapter_off():
        return mean()


def _expect_below(limit: float, value: float, what: str) -> None:
    if not value < limit:
        raise SelfCheckError(f"{what} = {value:.3e}, expected below {limit:.0e}")
