"""Everything that is specific to a model: one file per family behind the protocol in `base`."""

from collections.abc import Callable, Mapping, Sequence

import torch

from trainer.config import TrainConfig
from trainer.data import Example, derive_seed
from trainer.policies import lora
from trainer.policies.base import Policy
from trainer.policies.flux import load_flux
from trainer.policies.sd3 import load_sd3

_LOADERS: Mapping[str, Callable[..., Policy]] = {"flux": load_flux, "sd3": load_sd3}


def load_policy(config: TrainConfig, *, examples: Sequence[Example], device: torch.device) -> Policy:
    """Load the model with a fresh adapter."""
    policy = _LOADERS[config.model.family](config.model, examples=examples, device=device)
    lora.attach_lora(
        policy.transformer,
        rank=config.lora.rank,
        alpha=config.lora.alpha,
        targets=config.lora.targets,
        seed=derive_seed(config.seed, "lora"),
    )
    return policy
