"""Each check at step 0, shown to fail on a policy with exactly the mistake it is there for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from trainer.config import TrainConfig
from trainer.data import Example
from trainer.errors import SelfCheckError
from trainer.policies import load_policy
from trainer.policies.flux import FluxPolicy
from trainer.policies.lora import trainable_parameters
from trainer.self_check import check_policy

EXAMPLES = (Example("a red circle"), Example("a blue square"))


def _policy(config: TrainConfig, kind: type[FluxPolicy] = FluxPolicy) -> FluxPolicy:
    policy = load_policy(config, examples=EXAMPLES, device=torch.device("cpu"))
    assert isinstance(policy, FluxPolicy)
    policy.__class__ = kind
    return policy


def _check(policy: FluxPolicy, config: TrainConfig) -> None:
    check_policy(policy, config, examples=EXAMPLES, is_fresh=True)


def test_a_sound_policy_passes_and_is_left_as_it_was(make_config: Callable[..., TrainConfig]) -> None:
    config = make_config()
    policy = _policy(config)
    before = policy.adapter_state()
    _check(policy, config)
    after = policy.adapter_state()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(parameter.grad is None for parameter in trainable_parameters(policy.transformer))


def test_a_bfloat16_model_passes_within_its_own_tolerances(make_config: Callable[..., TrainConfig]) -> None:
    config = make_config(model={"dtype": "bfloat16"})
    _check(_policy(config), config)


class IntegerTimesteps(FluxPolicy):
    """Conditions on int(1000·sigma), as trainers that copy DDPM code do."""

    def velocity(self, latents_BND: torch.Tensor, step: int, conditioning: Any) -> torch.Tensor:
        exact, self._timesteps = self._timesteps, self._timesteps.floor()
        try:
            return super().velocity(latents_BND, step, conditioning)
        finally:
            self._timesteps = exact


class DropoutInTraining(FluxPolicy):
    """Is not the same function twice, as a model left in training mode; from the image check on, which it passes."""

    is_noisy = False

    def pipeline_images(self, latents_BND: torch.Tensor, conditioning: Any) -> torch.Tensor:
        self.is_noisy = True
        return super().pipeline_images(latents_BND, conditioning)

    def velocity(self, latents_BND: torch.Tensor, step: int, conditioning: Any) -> torch.Tensor:
        velocity = super().velocity(latents_BND, step, conditioning)
        return torch.nn.functional.dropout(velocity, 0.1) if self.is_noisy else velocity


class AnotherFunctionWithGradient(FluxPolicy):
    """Computes otherwise where a gradient is wanted, as a compiled or checkpointed model may; at one step alone."""

    def velocity(self, latents_BND: torch.Tensor, step: int, conditioning: Any) -> torch.Tensor:
        velocity = super().velocity(latents_BND, step, conditioning)
        return velocity * 1.01 if torch.is_grad_enabled() and step == 6 else velocity


class ReferenceThatIsThePolicy(FluxPolicy):
    """Switches nothing off, as helpers do that look for another kind of adapter."""

    @contextmanager
    def adapter_off(self) -> Iterator[None]:
        yield


class DetachedVelocity(FluxPolicy):
    """Loses the gradient on its way."""

    def velocity(self, latents_BND: torch.Tensor, step: int, conditioning: Any) -> torch.Tensor:
        return super().velocity(latents_BND, step, conditioning).detach()


def test_integer_timesteps_are_noticed_by_the_image(make_config: Callable[..., TrainConfig]) -> None:
    config = make_config(model={"num_inference_steps": 8})
    with pytest.raises(SelfCheckError, match="does not draw the diffusers pipeline's image; largest pixel difference"):
        _check(_policy(config, IntegerTimesteps), config)


def test_a_policy_that_is_not_the_same_twice_is_noticed_by_the_ratio(make_config: Callable[..., TrainConfig]) -> None:
    config = make_config()
    policy = _policy(config, DropoutInTraining)
    with pytest.raises(SelfCheckError, match="ratio is not 1 at denoising step 0"):
        _check(policy, config)


@pytest.mark.parametrize("window", [None, 1])
def test_a_policy_that_is_another_one_with_gradient_is_noticed_at_whatever_step_and_window(
    make_config: Callable[..., TrainConfig], window: int | None
) -> None:
    config = make_config(rollout={"window": window})
    with pytest.raises(SelfCheckError, match="ratio is not 1 at denoising step 6"):
        _check(_policy(config, AnotherFunctionWithGradient), config)


def test_a_reference_that_moves_with_the_adapter_is_noticed(make_config: Callable[..., TrainConfig]) -> None:
    config = make_config()
    with pytest.raises(SelfCheckError, match="the reference moves with the adapter"):
        _check(_policy(config, ReferenceThatIsThePolicy), config)


def test_a_kl_without_gradient_is_noticed(make_config: Callable[..., TrainConfig]) -> None:
    config = make_config()
    with pytest.raises(SelfCheckError, match="no gradient"):
        _check(_policy(config, DetachedVelocity), config)


def test_an_adapter_that_is_not_fresh_is_noticed_at_step_0(make_config: Callable[..., TrainConfig]) -> None:
    config = make_config()
    policy = _policy(config)
    with torch.no_grad():
        for parameter in trainable_parameters(policy.transformer):
            parameter.add_(0.05)
    with pytest.raises(SelfCheckError, match=r"does not draw|a fresh adapter changes the model"):
        _check(policy, config)
