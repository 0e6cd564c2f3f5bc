"""The exponential moving average of the adapter's weights: what is evaluated and exported when it is kept.

Owns its copy of the weights, float32 like the adapter's own. How far it has come is a function of the step, so that a
run that goes on needs the weights alone.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

import torch
from torch import Tensor, nn

from trainer.config import EmaConfig
from trainer.policies.base import Policy


class AdapterAverage:
    """average ← d·average + (1 − d)·weights after every step, starting from the fresh adapter."""

    def __init__(self, policy: Policy, parameters: Sequence[nn.Parameter], *, decay: float, on_cpu: bool) -> None:
        """`parameters` are the adapter's, in the order they are always given in; `on_cpu` spares the device."""
        self._policy = policy
        self._parameters = parameters
        self._decay = decay
        self._on_cpu = on_cpu
        self._averages = self._copies()

    @classmethod
    def of(
        cls,
        policy: Policy,
        parameters: Sequence[nn.Parameter],
        config: EmaConfig,
        *,
        state: dict[str, Tensor] | None = None,
    ) -> Self | None:
        """As the recipe says, starting from the present weights or from what `state` gave; None for no average."""
        if config.decay == 0.0:
            return None
        average = cls(policy, parameters, decay=config.decay, on_cpu=config.on_cpu)
        if state is not None:
            average.load_state(state)
        return average

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights as they are after optimizer step number `step`, counted from 0."""
        share = 1.0 - decay_at(step, decay=self._decay)
        for average, parameter in zip(self._averages, self._parameters, strict=True):
            average.lerp_(parameter.detach().to(average.device, torch.float32), share)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within it, the policy draws with the averaged adapter. Not for training: gradients would be the average's."""
        weights = self._copies()
        self._put(self._averages)
        try:
            yield
        finally:
            self._put(weights)

    def state(self) -> dict[str, Tensor]:
        """A copy of the average, by the names of `Policy.adapter_state`."""
        with self.in_place():
            return self._policy.adapter_state()

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Put back what `state` gave. Raises `ValueError` when a key is missing or left over."""
        weights = self._copies()
        try:
            self._policy.load_adapter_state(state)
            self._averages = self._copies()
        finally:
            self._put(weights)

    def _copies(self) -> list[Tensor]:
        device = torch.device("cpu") if self._on_cpu else None
        return [parameter.detach().to(device, torch.float32, copy=True) for parameter in self._parameters]

    @torch.no_grad()
    def _put(self, values: Sequence[Tensor]) -> None:
        for parameter, value in zip(self._parameters, values, strict=True):
            parameter.copy_(value)


def decay_at(step: int, *, decay: float) -> float:
    """d for optimizer step number `step`, counted from 0.

    The usual warm-up, (1 + step) / (10 + step) until it reaches `decay`: early on the average follows closely instead
    of remembering the fresh adapter.
    """
    return min(decay, (1 + step) / (10 + step))
