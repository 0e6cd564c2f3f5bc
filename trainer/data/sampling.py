"""Which examples a step trains on, and where its random numbers come from: functions of the seed and the step alone."""

import hashlib
from collections.abc import Sequence

import torch

from trainer.data.examples import Example


def derive_seed(*parts: int | str) -> int:
    """A seed that is a function of all parts: the run's seed, what it is for, the step, the group …"""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big")


def generator(*parts: int | str) -> torch.Generator:
    """A CPU generator seeded by `derive_seed`: the same numbers on every device and after every restart."""
    return torch.Generator().manual_seed(derive_seed(*parts))


class ExampleSampler:
    """An endless stream of reshuffled epochs, addressed by step: there is no position to save or to lose."""

    def __init__(self, examples: Sequence[Example], *, seed: int) -> None:
        self._examples = examples
        self._seed = seed

    def batch(self, step: int, num_groups: int) -> tuple[Example, ...]:
        """The examples of a step; the stream continues where the step before ended."""
        size, first = len(self._examples), step * num_groups
        positions = range(first, first + num_groups)
        orders = {epoch: self._order(epoch) for epoch in range(positions[0] // size, positions[-1] // size + 1)}
        return tuple(self._examples[orders[position // size][position % size]] for position in positions)

    def _order(self, epoch: int) -> list[int]:
        order = torch.randperm(len(self._examples), generator=generator(self._seed, "epoch", epoch))
        return [int(index) for index in order]
