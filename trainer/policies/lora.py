"""A LoRA adapter on a diffusers transformer: attach, switch off, save, restore, export."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

ADAPTER_NAME = "default"


def attach_lora(
    transformer: Any, *, rank: int, alpha: int, targets: Literal["all-linear"] | Sequence[str], seed: int
) -> None:
    """Freeze the transformer and add a fresh float32 LoRA (B = 0: the output does not change yet).

    Equal seeds give equal weights, and the global random state is left as it was.
    """
    transformer.requires_grad_(False)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        init_lora_weights=True,
        target_modules=linear_layers(transformer) if targets == "all-linear" else list(targets),
    )
    with torch.random.fork_rng(devices=list(range(torch.cuda.device_count()))):
        torch.manual_seed(seed)
        transformer.add_adapter(config, adapter_name=ADAPTER_NAME)
    transformer.eval()  # the adapter comes in training mode; what samples and what is trained are one function
    for parameter in trainable_parameters(transformer):
        parameter.data = parameter.data.float()


def linear_layers(module: nn.Module) -> list[str]:
    """Full names of all linear layers, sorted."""
    return sorted(name for name, child in module.named_modules() if isinstance(child, nn.Linear))


def trainable_parameters(module: nn.Module) -> list[nn.Parameter]:
    """The adapter's parameters, in a fixed order."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


@torch.no_grad()
def norm(parameters: Sequence[nn.Parameter]) -> float:
    """Of all of them as one vector, in float32: infinite from about 1e19 on, NaN where one is."""
    return float(nn.utils.get_total_norm(parameters))


@contextmanager
def adapter_off(transformer: nn.Module) -> Iterator[None]:
    """Run the base model. Raises `RuntimeError` where there is no adapter to switch off (a silent no-op elsewhere)."""
    layers = [module for module in transformer.modules() if isinstance(module, BaseTunerLayer)]
    if not layers:
        raise RuntimeError("there is no adapter to switch off")
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def peft_config(transformer: Any) -> LoraConfig:
    """The adapter's configuration as PEFT keeps it."""
    return transformer.peft_config[ADAPTER_NAME]


def adapter_state(transformer: nn.Module) -> dict[str, Tensor]:
    """A copy of the adapter's weights on the CPU, by PEFT's names (`….lora_A.weight`)."""
    state = get_peft_model_state_dict(transformer, adapter_name=ADAPTER_NAME)
    return {name: value.detach().cpu().clone() for name, value in state.items()}


def load_adapter_state(transformer: nn.Module, state: dict[str, Tensor]) -> None:
    """Put back what `adapter_state` gave. Raises `ValueError` when a key is missing or left over."""
    if difference := set(state) ^ set(adapter_state(transformer)):
        raise ValueError(f"the adapter does not fit this model: {len(difference)} keys differ, e.g. {min(difference)}")
    set_peft_model_state_dict(transformer, state, adapter_name=ADAPTER_NAME)
