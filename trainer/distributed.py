"""Devices and processes: the only file that touches Accelerate. The loop knows no rank.

The one rule: every method but `backward` is called by all processes together, in the same order.
"""

from collections.abc import Sequence
from typing import TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

T = TypeVar("T")


class Runtime:
    """Where the run computes: this process alone, or one of several that `accelerate launch` started."""

    def __init__(self) -> None:
        self._accelerator = Accelerator()
        self.device = torch.device(self._accelerator.device)
        """Of this process."""
        self.rank: int = self._accelerator.process_index
        """0 … num_processes − 1."""
        self.num_processes: int = self._accelerator.num_processes

    @property
    def is_main(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0

    def backward(self, loss: torch.Tensor) -> None:
        """Accumulate gradients."""
        self._accelerator.backward(loss)

    def clip_gradients(self, parameters: Sequence[torch.nn.Parameter], *, max_norm: float) -> float:
        """Clip the gradients to a total norm; returns the norm before clipping."""
        return float(self._accelerator.clip_grad_norm_(list(parameters), max_norm))

    def gather(self, items: Sequence[T]) -> list[T]:
        """The items of all processes, those of rank 0 first, on every process."""
        return list(gather_object(list(items)))

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any process."""
        return any(self.gather([flag]))

    def wait(self) -> None:
        """Until all processes are here."""
        self._accelerator.wait_for_everyone()
