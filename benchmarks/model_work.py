"""What a model takes by arithmetic: operations and bytes, counted on torch's `meta` device.

Owns what counts as work. Model FLOPs are those of one forward pass, and of the backward pass that reaches the adapter;
what a memory-saving way computes twice is no work. Matrix products and convolutions count, two operations for a
multiplication with its addition; nothing else does. The one rule: no weights, so that it runs anywhere.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.full_size_models import ModelShape, random_policy
from trainer.config import TrainConfig
from trainer.policies import lora
from trainer.policies.base import Policy

PEAK_FLOPS: dict[str, float] = {
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "H200": 989e12,
    "GH200": 989e12,
    "B200": 2250e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
}
"""bfloat16, dense, per second, as the makers' data sheets have it; the first name that is part of the device's."""

_BYTES_OF_A_TRAINED_PARAMETER = 16
"""float32: the weight, its gradient, and AdamW's two moments."""


def peak_flops_of(device_name: str) -> float | None:
    """None for a device that is not in the table."""
    return next((peak for name, peak in PEAK_FLOPS.items() if name in device_name), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """Of one model at one resolution; per image and denoising step where nothing else is said."""

    num_parameters: int
    """Of the frozen transformer."""
    num_trained: int
    """Of the adapter."""
    weight_bytes: int
    """Of transformer and autoencoder."""
    forward_flops: int
    """Both passes of it, with classifier-free guidance."""
    backward_flops: int
    """Down to the first adapter; frozen weights have no gradient."""
    reference_flops: int
    """Forward with the adapter off, for the KL; 0 where it has no weight."""
    saved_bytes: int
    """What a forward pass keeps for the backward pass, attention fused."""
    saved_bytes_checkpointed: int
    """The same with gradient checkpointing, without what one block needs while it is computed again."""

    @property
    def trained_bytes(self) -> int:
        """Weights, gradients and moments of the adapter."""
        return self.num_trained * _BYTES_OF_A_TRAINED_PARAMETER

    @property
    def update_flops(self) -> int:
        """Of an update's image and step."""
        return self.forward_flops + self.backward_flops + self.reference_flops


def count_work(shape: ModelShape, config: TrainConfig) -> Work:
    """Count; takes seconds, and no memory to speak of."""
    policy, examples = random_policy(shape, config, device=torch.device("meta"))
    transformer: Any = policy.transformer
    conditioning = policy.conditioning(examples[:1])
    latents = torch.empty(1, *policy.latent_shape, device="meta")

    def velocity() -> Tensor:
        return policy.velocity(latents, 0, conditioning)

    transformer.disable_gradient_checkpointing()
    forward, output = _counted(velocity)
    backward, _ = _counted(lambda: output.sum().backward())
    saved = _saved_bytes(policy, velocity)
    transformer.enable_gradient_checkpointing()
    checkpointed = _saved_bytes(policy, velocity)
    reference = 0
    if config.loss.kl_weight > 0:
        with torch.no_grad(), policy.adapter_off():
            reference, _ = _counted(velocity)
    trained = lora.trainable_parameters(transformer)
    frozen = [parameter for parameter in transformer.parameters() if not parameter.requires_grad]
    held = [*frozen, *_autoencoder(policy).parameters()]
    return Work(
        num_parameters=sum(parameter.numel() for parameter in frozen),
        num_trained=sum(parameter.numel() for parameter in trained),
        weight_bytes=sum(parameter.numel() * parameter.element_size() for parameter in held),
        forward_flops=forward,
        backward_flops=backward,
        reference_flops=reference,
        saved_bytes=saved,
        saved_bytes_checkpointed=checkpointed,
    )


def _autoencoder(policy: Any) -> torch.nn.Module:
    vae: torch.nn.Module = policy._pipeline.vae
    return vae


def _counted(work: Callable[[], Any]) -> tuple[int, Any]:
    with FlopCounterMode(display=False) as counter:
        result = work()
    return int(counter.get_total_flops()), result


def _saved_bytes(policy: Policy, velocity: Callable[[], Tensor]) -> int:
    """Storages that autograd keeps, each once; weights are there anyway."""
    weights = {parameter.untyped_storage()._cdata for parameter in policy.transformer.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights and not _is_attention_matrix(tensor):
            kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = velocity()
    del output
    return sum(storage.nbytes() for storage in kept.values())


def _is_attention_matrix(tensor: Tensor) -> bool:
    """[batch, heads, tokens, tokens], which `meta` writes out and fused kernels on accelerators do not."""
    return tensor.ndim >= 3 and tensor.shape[-1] == tensor.shape[-2]
