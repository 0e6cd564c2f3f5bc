"""Settings of the pixel judge: how decided it is, how much it can do at once, and which faults it pretends to have."""

from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared_schemas.rubrics import json_digest

MODEL_ID = "pixel-judge"
"""The model that the server lists unless told otherwise."""

_NO_OPINION = {
    "latency_ms", "token_ms", "keeps_images", "capacity", "overflow", "log_probs", "model",
    "error_rate", "error_status", "stall_rate", "malformed_rate", "drop_rate",
}  # fmt: skip
"""Settings that delay, withhold, break or sign an answer and never change one."""


class Overflow(StrEnum):
    """What happens to a request beyond `capacity`."""

    QUEUE = "queue"
    REFUSE = "refuse"


class PixelJudgeSettings(BaseSettings):
    """Read from the environment, prefix `ARR_PIXEL_JUDGE_`."""

    model_config = SettingsConfigDict(
        env_prefix="ARR_PIXEL_JUDGE_", frozen=True, extra="forbid", use_attribute_docstrings=True
    )

    scale: float = Field(default=8.0, gt=0)
    """Nats of log-odds per unit of score difference; scores lie in 0 to 1."""
    position_bias: float = 0.0
    """Nats added in favour of the image shown first; a single image has no position."""
    noise: float = Field(default=0.0, ge=0)
    """Standard deviation of Gaussian noise on the log-odds, nats; the same request gets the same noise."""
    fresh_noise: bool = False
    """Draw new noise for every call, as a server that is not deterministic does."""
    label_mass: float = Field(default=0.999, gt=0, le=1)
    """Probability of both labels together; the rest goes to the token "The"."""
    log_probs: bool = True
    """False: requests for log-probabilities are refused with HTTP 400, as by hosted models that have none."""
    model: str = Field(default=MODEL_ID, min_length=1)
    """Id of the model it serves."""
    latency_ms: float = Field(default=0.0, ge=0)
    """Time that every request is worked on, milliseconds, besides the measuring itself."""
    token_ms: float = Field(default=0.0, ge=0)
    """Time that every token of an answer after the first takes, milliseconds."""
    capacity: int = Field(default=0, ge=0)
    """Most requests worked on at once; 0 = any number."""
    overflow: Overflow = Overflow.QUEUE
    """Beyond `capacity`: wait in line, or be refused with HTTP 429 and `Retry-After: 1`."""
    keeps_images: bool = True
    """False: an image that is only named is refused, as by a server that has lost it."""
    error_rate: float = Field(default=0.0, ge=0, le=1)
    """Share of chat requests answered with `error_status`."""
    error_status: int = Field(default=500, ge=400, le=599)
    """HTTP status of these."""
    stall_rate: float = Field(default=0.0, ge=0, le=1)
    """Share of chat requests never answered: each holds its place until its client goes away."""
    malformed_rate: float = Field(default=0.0, ge=0, le=1)
    """Share of chat requests answered with rubbish, of each kind in turn."""
    drop_rate: float = Field(default=0.0, ge=0, le=1)
    """Share of chat requests whose connection is closed without an answer."""
    drops_a_criterion: float = Field(default=0.0, ge=0, le=1)
    """Share of the rubrics that it structures, in which it loses a criterion and claims to cover it."""
    seed: int = 0
    """Seed of noise and faults."""

    @model_validator(mode="after")
    def _at_most_one_fault_each(self) -> Self:
        if self.error_rate + self.stall_rate + self.malformed_rate + self.drop_rate > 1:
            raise ValueError("the rates of errors, stalls, malformed answers and drops add up to more than 1")
        return self

    @property
    def opinion_digest(self) -> str:
        """12 hexadecimal digits that change with every setting that changes answers."""
        return json_digest(self.model_dump(mode="json", exclude=_NO_OPINION)).removeprefix("sha256:")[:12]
