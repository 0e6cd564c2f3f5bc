"""Out of memory, said in one line: where it happened, and what to turn down."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from trainer.config import TrainConfig
from trainer.errors import OutOfMemory

_SIGNS = ("out of memory", "can't allocate memory", "ALLOC_FAILED")
"""In the words of CUDA, NCCL and other devices; of torch's CPU allocator; of cuBLAS and cuDNN."""


@contextmanager
def explaining_out_of_memory(config: TrainConfig, *, where: str) -> Iterator[None]:
    """Raise `OutOfMemory` in place of what allocators raise; `where` names the process."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())[:200]
        raise OutOfMemory(f"out of memory on {where} ({reason}). {ways_out(config)}") from error


def is_out_of_memory(error: MemoryError | RuntimeError) -> bool:
    """Of a device or of the machine; CUDA has its own class for most of it, and plain `RuntimeError` for the rest."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(sign in str(error) for sign in _SIGNS)


def ways_out(config: TrainConfig) -> str:
    """What this recipe can still turn down: first what a run goes on with, then what shapes its weights."""
    model, rollout = config.model, config.rollout
    keeps, changes = [], [f"a smaller model.resolution than {model.resolution}"]
    if rollout.micro_batches < rollout.prompts_per_step:
        keeps.append(
            f"more rollout.micro_batches than {rollout.micro_batches} ({rollout.images_at_once} images at once)"
        )
    elif rollout.candidates > 2:
        changes.append(f"fewer rollout.candidates than {rollout.candidates}")
    if not model.gradient_checkpointing:
        keeps.append("model.gradient_checkpointing=true")
    if config.ema.decay and not config.ema.on_cpu:
        keeps.append("ema.on_cpu=true")
    keeps.append("more GPUs that share the model (trainer/configs/accelerate/fsdp2.yaml)")
    if model.dtype == "float32":
        changes.append("model.dtype=bfloat16")
    return f"The run goes on with {' or '.join(keeps)}; in another output_dir, {' or '.join(changes)} helps, too"
