"""On whose behalf the judge is asked: what fair sharing and the cache need to know of it, and no more."""

from dataclasses import dataclass
from enum import IntEnum

LOCAL_TENANT = "local"
"""Everybody, on a service without keys."""


class CallClass(IntEnum):
    """Who goes first: a lower class waits only for calls under way, never for queued ones of a higher class."""

    REWARD = 0
    EVALUATION = 1
    LEARNING = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """One stream of questions."""

    tenant: str = LOCAL_TENANT
    """Owner of the API key: gets its fair share of the judge."""
    run: str = ""
    """The client's own word for a run; shares the tenant's share with the tenant's other runs."""
    call_class: CallClass = CallClass.REWARD
    """How urgent it is."""
    cache_scope: str = LOCAL_TENANT
    """Remembered answers are shared within a scope, never across: the tenant, unless sharing is configured."""
