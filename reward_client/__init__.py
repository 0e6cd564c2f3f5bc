"""Rewards for any trainer: images and prompts in, typed rewards, ties and failures out.

    from reward_client import CandidateGroup, RewardClient

    with RewardClient("http://127.0.0.1:8080") as client:
        rubric = client.resolve_rubric("flux-t2i@production")
        result = client.reward([CandidateGroup(prompt, [image_a, image_b])], rubric=rubric)
        result.rewards  # float32 [groups, candidates], NaN where the judge saw a tie or could not answer

Where the service asks for a key: `RewardClient(url, api_key=…)`.

Owns encoding, retrying and reading; knows nothing of how images are judged, and imports no torch. The one rule: a group
without a verdict has no number.
"""

from reward_client.asynchronous import AsyncRewardClient
from reward_client.errors import ProtocolError, RequestRejected, RewardClientError, ServiceUnavailable
from reward_client.groups import CandidateGroup
from reward_client.result import RewardResult
from reward_client.retries import RetryPolicy
from reward_client.synchronous import RewardClient

__all__ = [
    "AsyncRewardClient",
    "CandidateGroup",
    "ProtocolError",
    "RequestRejected",
    "RetryPolicy",
    "RewardClient",
    "RewardClientError",
    "RewardResult",
    "ServiceUnavailable",
]
