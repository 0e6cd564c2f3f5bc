"""Who may do what: the scopes of an API key."""

from enum import StrEnum


class Scope(StrEnum):
    """What a key allows; `admin` allows everything."""

    REWARD = "reward"
    """Ask for rewards, read rubric sets, read the own tenant's judgements and datasets."""
    RUBRICS = "rubrics"
    """Publish, learn, measure and archive versions, move aliases, read rubric sets, upload and read the own tenant's
    datasets, watch and stop its jobs."""
    ADMIN = "admin"
    """All of it, for every tenant."""
