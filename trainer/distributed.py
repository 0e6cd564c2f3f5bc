"""Devices and processes: the only file that touches Accelerate, its trackers apart. The loop knows no rank.

Adapters are small, so every process holds the whole one and gradients are added up by one plain exchange; where
`accelerate launch` asks for FSDP2, what is sharded is the frozen base model (`shard_frozen`). The one rule: every
method but `backward` and `share` is called by all processes together, in the same order. A `TrainerError` of one
process takes the place of what it would have given in the next exchange, so that it fails on all of them, and nobody
waits. Any other error may come in the middle of an exchange: it ends its process, and thereby the others.
"""

import os
import warnings
from collections.abc import Callable, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import torch
from accelerate import Accelerator
from accelerate.utils import (
    DistributedType,
    FullyShardedDataParallelPlugin,
    InitProcessGroupKwargs,
    broadcast_object_list,
    disable_fsdp_ram_efficient_loading,
    gather_object,
    parse_flag_from_env,
)
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.distributed_c10d import _get_default_store
from torch.distributed.fsdp import fully_shard

from trainer.errors import ConfigError, FailedElsewhere, TrainerError

T = TypeVar("T")

_REFUSED = {DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM, DistributedType.XLA}


class Runtime:
    """Where the run computes: this process alone, or one of several that `accelerate launch` started."""

    def __init__(self, *, patience: timedelta = timedelta(minutes=30)) -> None:
        """Join the other processes; one that is silent for `patience` is given up by the others.

        Raises `ConfigError` for a way of distributing that the trainer does not know.
        """
        started = int(os.environ.get("WORLD_SIZE", "1"))
        self._accelerator = Accelerator(
            cpu=started > 1 and not torch.accelerator.is_available(),  # else each would be a run of its own
            kwargs_handlers=[InitProcessGroupKwargs(timeout=patience)],
        )
        self._sharding = _sharding_asked_for(self._accelerator)
        self.device = torch.device(self._accelerator.device)
        """Of this process."""
        self.rank: int = self._accelerator.process_index
        """0 … num_processes − 1."""
        self.num_processes: int = self._accelerator.num_processes
        if self.num_processes != started:
            raise ConfigError(f"{started} processes were started, and {self.num_processes} found each other")
        self._known_to_all: TrainerError | None = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take leave of the others, unless something went wrong that they do not know of.

        Raises `FailedElsewhere` in place of an error that comes after another process's: mostly of its having gone.
        """
        if self.num_processes == 1:
            return
        if error is None or error is self._known_to_all:
            torch.distributed.destroy_process_group()
        elif isinstance(error, Exception) and not _is_first_to_fail():
            raise FailedElsewhere("another process failed") from error

    @property
    def name(self) -> str:
        """What to call this process when it alone has something to say."""
        return str(self.device) if self.num_processes == 1 else f"rank {self.rank} ({self.device})"

    @property
    def is_main(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0

    @property
    def is_sharded(self) -> bool:
        """Whether every forward pass is one that all processes must make together."""
        return self._sharding is not None and self.num_processes > 1

    def shard(self, transformer: Any) -> None:
        """Spread a model's frozen parameters over the processes, where the launch configuration says so."""
        if self._sharding is not None and self.is_sharded:
            shard_frozen(
                transformer,
                device_type=self.device.type,
                reshard_after_forward=bool(self._sharding.reshard_after_forward),
            )

    def backward(self, loss: Tensor) -> None:
        """Accumulate gradients, of this process alone."""
        loss.backward()

    def sum_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Replace each gradient by its sum over all processes, bit for bit the same on each: one exchange for all."""
        if self.num_processes == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        torch.distributed.all_reduce(flat)
        for gradient, summed in zip(gradients, flat.split([each.numel() for each in gradients]), strict=True):
            gradient.copy_(summed.view_as(gradient))

    def clip_gradients(self, parameters: Sequence[torch.nn.Parameter], *, max_norm: float) -> float:
        """Clip the gradients to a total norm; returns the norm before clipping."""
        return float(torch.nn.utils.clip_grad_norm_(list(parameters), max_norm))

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """What this process has of items that are dealt out in turn."""
        return items[self.rank :: self.num_processes]

    def gather_shares(self, items: Sequence[T]) -> list[T]:
        """What was made of each item of a `share`, in the order before it was dealt out, on every process."""
        shares = self._exchange(list(items))
        longest = max(len(share) for share in shares)
        return [share[turn] for turn in range(longest) for share in shares if turn < len(share)]

    def gather(self, items: Sequence[T]) -> list[T]:
        """The items of all processes, those of rank 0 first, on every process."""
        return [item for part in self._exchange(list(items)) for item in part]

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any process."""
        return any(self.gather([flag]))

    def together(self, work: Callable[[], T]) -> T:
        """What `work` returns here; a `TrainerError` of it is raised on all processes, the first one of several.

        `work` may exchange things and hold further calls of `together`.
        """
        try:
            result = work()
        except TrainerError as error:
            if error is not self._known_to_all:
                self._exchange(error)
            raise
        self._exchange([])
        return result

    def once(self, work: Callable[[], T]) -> T:
        """What `work` returns on the main process, where alone it runs; a `TrainerError` of it is raised on all."""
        held = self.together(lambda: [work()] if self.is_main else [None])
        broadcast_object_list(held)  # apart from the exchange: a checkpoint is large, and one is enough
        return cast(T, held[0])

    def _exchange(self, own: list[T] | TrainerError) -> list[list[T]]:
        """What each process gives, by rank. Raises the first error that one gives instead, on all of them."""
        parts: list[list[T] | TrainerError] = gather_object([own])
        lists = []
        for part in parts:
            if isinstance(part, TrainerError):
                self._known_to_all = part
                raise part
            lists.append(part)
        return lists


def _is_first_to_fail() -> bool:
    """Of all processes; where the place in which they meet has gone, nobody knows, and it is better to speak twice."""
    try:
        return bool(_get_default_store().add("failed", 1) == 1)
    except (RuntimeError, OSError):
        return True


def _sharding_asked_for(accelerator: Accelerator) -> FullyShardedDataParallelPlugin | None:
    """From the variables that `accelerate launch` sets; Accelerate itself overlooks them on CPUs."""
    if accelerator.distributed_type in _REFUSED:
        raise ConfigError(f"{accelerator.distributed_type.value}: the trainer knows DDP and FSDP2 only")
    if not parse_flag_from_env("ACCELERATE_USE_FSDP"):
        return None
    plugin = FullyShardedDataParallelPlugin()
    if plugin.fsdp_version != 2:
        raise ConfigError("the launch configuration asks for FSDP1; write fsdp_version: 2")
    disable_fsdp_ram_efficient_loading()  # with it, transformers reads weights on one process, and leaves others empty
    return plugin


def shard_frozen(transformer: Any, *, device_type: str, reshard_after_forward: bool) -> None:
    """Shard the frozen part of a diffusers transformer, in place, with FSDP2; its blocks are gathered when used.

    From then on every forward pass is one that all processes make together. The adapter, a hundredth of the model,
    stays whole: its gradients, clipping, optimizer and checkpoints are those of plain data parallelism. What is sharded
    has no gradient, so that frozen and trained parameters may differ in type. Blocks are those that the model names as
    indivisible.
    """
    # Some blocks return slices of one tensor. Nothing here writes into them, which is what torch warns of.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    mesh = init_device_mesh(device_type, (torch.distributed.get_world_size(),))
    trained = {parameter for parameter in transformer.parameters() if parameter.requires_grad}
    blocks = [module for module in transformer.modules() if type(module).__name__ in transformer._no_split_modules]
    for module in (*blocks, transformer):
        fully_shard(module, mesh=mesh, ignored_params=trained, reshard_after_forward=reshard_after_forward)
