"""Who may do what: the scopes of an API key."""

from enum import StrEnum


class Scope(StrEnum):
    """What a key allows; `admin` allows everything."""

    REWARD = "reward"
    """Ask for rewards, read rubric sets, read the judgements and datasets of the own tenant."""
    RUBRICS = "rubrics"
    """Publish versions, move aliases, read rubric sets, upload and read datasets of the own tenant."""
    ADMIN = "admin"
    """All of it, and the judgements of every tenant."""
