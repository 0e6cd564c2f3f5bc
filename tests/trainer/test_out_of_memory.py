"""No memory left: one line that names the process and what this recipe can still turn down."""

from collections.abc import Callable

import pytest
import torch

from trainer.config import TrainConfig
from trainer.errors import OutOfMemory
from trainer.out_of_memory import explaining_out_of_memory, ways_out


def _in_vain() -> torch.Tensor:
    return torch.empty(1 << 46)  # 256 TiB: more than a process can address


def test_what_the_cpus_allocator_says_becomes_one_line_with_settings_to_turn_down(
    make_config: Callable[..., TrainConfig],
) -> None:
    with pytest.raises(OutOfMemory) as stopped, explaining_out_of_memory(make_config(), where="rank 1 (cpu)"):
        _in_vain()
    text = str(stopped.value)
    assert text.startswith("out of memory on rank 1 (cpu) (")
    assert "can't allocate memory: you tried to allocate 281474976710656 bytes" in text
    assert "rollout.micro_batches" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError("Unable to allocate 3.91 GiB for an array"),
    ],
)
def test_every_way_in_which_memory_runs_out_is_known(
    make_config: Callable[..., TrainConfig], error: MemoryError | RuntimeError
) -> None:
    with pytest.raises(OutOfMemory), explaining_out_of_memory(make_config(), where="cuda:0"):
        raise error


def test_other_errors_stay_what_they_are(make_config: Callable[..., TrainConfig]) -> None:
    with (
        pytest.raises(RuntimeError, match="shapes cannot be multiplied"),
        explaining_out_of_memory(make_config(), where="cpu"),
    ):
        torch.ones(2, 3) @ torch.ones(2, 3)


def test_only_what_a_recipe_has_not_turned_down_yet_is_named(make_config: Callable[..., TrainConfig]) -> None:
    assert ways_out(make_config(ema={"decay": 0.9})) == (
        "The run goes on with more rollout.micro_batches than 4 (4 images at once) or "
        "model.gradient_checkpointing=true or ema.on_cpu=true or more GPUs that share the model "
        "(trainer/configs/accelerate/fsdp2.yaml); in another output_dir, a smaller model.resolution than 32 or "
        "model.dtype=bfloat16 helps, too"
    )
    turned_down = make_config(
        model={"gradient_checkpointing": True, "dtype": "bfloat16"},
        rollout={"prompts_per_step": 8, "micro_batches": 8, "candidates": 4},
        ema={"decay": 0.9, "on_cpu": True},
    )
    assert ways_out(turned_down) == (
        "The run goes on with more GPUs that share the model (trainer/configs/accelerate/fsdp2.yaml); in another "
        "output_dir, a smaller model.resolution than 32 or fewer rollout.candidates than 4 helps, too"
    )
