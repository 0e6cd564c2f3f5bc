"""What `reward` returns: the typed answer, and the rewards as one array."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from shared_schemas.reward import GroupResult, RewardResponse, Status

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True, slots=True)
class RewardResult:
    """Rewards, ties and failures of one request, in the order of its groups."""

    response: RewardResponse
    """The whole answer: rubric, judge, verdicts, cost, timing."""
    num_candidates: int
    """K: candidates in the largest group."""

    @property
    def results(self) -> tuple[GroupResult, ...]:
        """One per group."""
        return self.response.results

    @property
    def rewards(self) -> npt.NDArray[np.float32]:
        """Float32 [G, K]; NaN for every candidate of a group that is not scored."""
        rewards = np.full((len(self.results), self.num_candidates), np.nan, dtype=np.float32)
        for row, result in zip(rewards, self.results, strict=True):
            if result.rewards is not None:
                row[: len(result.rewards)] = result.rewards
        return rewards

    def rewards_tensor(self, device: "str | torch.device" = "cpu") -> "torch.Tensor":
        """`rewards` as a torch tensor on `device`; needs torch."""
        import torch

        return torch.from_numpy(self.rewards).to(device)

    @property
    def num_scored(self) -> int:
        """Groups with rewards."""
        return self._count(Status.SCORED)

    @property
    def num_tied(self) -> int:
        """Groups the judge could not separate."""
        return self._count(Status.TIED)

    @property
    def num_failed(self) -> int:
        """Groups without a verdict; each says why in `error`."""
        return self._count(Status.FAILED)

    def _count(self, status: Status) -> int:
        return sum(result.status is status for result in self.results)
