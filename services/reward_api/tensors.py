"""The answer of `POST /reward` as tensors: what a trainer needs, without parsing numbers out of text.

Owns the choice between JSON and safetensors, and the layout of the latter. The one rule: what was not judged is NaN.
"""

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from shared_schemas.reward import Group, GroupResult, RewardResponse, Status

SAFETENSORS = "application/vnd.safetensors"

STATUS_CODES = {Status.SCORED: 0, Status.TIED: 1, Status.FAILED: 2}

_JSON = "application/json"


def are_wanted(accept: str) -> bool:
    """Whether an `Accept` header names safetensors, and JSON with no greater weight. Wildcards mean JSON."""
    weights = dict(_weight(choice) for choice in accept.split(","))
    return 0.0 < weights.get(SAFETENSORS, 0.0) >= weights.get(_JSON, 0.0)


def encode(response: RewardResponse, groups: tuple[Group, ...]) -> bytes:
    """Safetensors for G groups of up to K candidates.

    `rewards` float32 [G, K], NaN where a group is not scored or has no such candidate; `margins` float32 [G, K, K] in
    nats, [g, i, j] = by how much i is better than j, NaN where not judged; `status` int8 [G], see `STATUS_CODES`;
    `num_candidates` int32 [G]. The metadata's `response` is the JSON answer without `pairs`.
    """
    sizes = [len(group.candidates) for group in groups]
    rewards = np.full((len(sizes), max(sizes)), np.nan, np.float32)
    margins = np.full((len(sizes), max(sizes), max(sizes)), np.nan, np.float32)
    for index, (result, size) in enumerate(zip(response.results, sizes, strict=True)):
        if result.rewards is not None:
            rewards[index, :size] = result.rewards
        margins[index, :size, :size] = _margins(result, size)
    tensors = {
        "rewards": rewards,
        "margins": margins,
        "status": np.array([STATUS_CODES[result.status] for result in response.results], np.int8),
        "num_candidates": np.array(sizes, np.int32),
    }
    summary = response.model_dump_json(exclude={"results": {"__all__": {"pairs"}}})
    encoded: bytes = save(tensors, metadata={"response": summary})
    return encoded


def _margins(result: GroupResult, num_candidates: int) -> npt.NDArray[np.float32]:
    """[K, K], antisymmetric with a diagonal of 0."""
    margins = np.full((num_candidates, num_candidates), np.nan, np.float32)
    np.fill_diagonal(margins, 0.0)
    for pair in result.pairs:
        if pair.margin is not None:
            margins[pair.first, pair.second] = pair.margin
            margins[pair.second, pair.first] = -pair.margin
    return margins


def _weight(choice: str) -> tuple[str, float]:
    """A media type of an `Accept` header and its weight (RFC 9110, section 12.4.2); one that is no number counts 0."""
    media_type, *parameters = (part.strip().lower() for part in choice.split(";"))
    weights = [value for name, _, value in (part.partition("=") for part in parameters) if name.strip() == "q"]
    try:
        return media_type, float(weights[0]) if weights else 1.0
    except ValueError:
        return media_type, 0.0
