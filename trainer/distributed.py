"""Devices and processes: the only file that touches Accelerate. The loop knows no rank."""

from collections.abc import Sequence

import torch
from accelerate import Accelerator

from trainer.errors import ConfigError


class Runtime:
    """Where the run computes. One process today; `accelerate launch` with more is refused in one line."""

    def __init__(self) -> None:
        self._accelerator = Accelerator()
        if self._accelerator.num_processes > 1:
            raise ConfigError("training runs on one process; start it without `accelerate launch`")

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        return torch.device(self._accelerator.device)

    def backward(self, loss: torch.Tensor) -> None:
        """Accumulate gradients."""
        self._accelerator.backward(loss)

    def clip_gradients(self, parameters: Sequence[torch.nn.Parameter], *, max_norm: float) -> float:
        """Clip the gradients to a total norm; returns the norm before clipping."""
        return float(self._accelerator.clip_grad_norm_(list(parameters), max_norm))
