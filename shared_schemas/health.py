"""Answers of the health probes."""

from enum import StrEnum

from shared_schemas.base import ResponseModel
from shared_schemas.reward import JudgeIdentity


class Health(StrEnum):
    """State of the service or of one part of it."""

    OK = "ok"
    DEGRADED = "degraded"
    UNAVAILABLE = "unavailable"


class Liveness(ResponseModel):
    """Answer of `GET /livez`: the process answers, whatever it depends on."""

    status: Health = Health.OK
    """Always `ok`."""


class Readiness(ResponseModel):
    """Answer of `GET /readyz`: 200 while requests can be served, 503 otherwise."""

    status: Health
    """The worst of the parts."""
    parts: dict[str, str]
    """`database`, `judge` … → `ok`, or what is wrong."""
    judge: JudgeIdentity | None
    """Who judges; null when the judge cannot be reached."""
    pixel_judge: bool
    """True when the built-in stand-in judges instead of a vision-language model."""
