"""Settings of the pixel judge: how decided it is, and which faults it pretends to have."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

MODEL_ID = "pixel-judge"
"""The model that the server lists."""


class PixelJudgeSettings(BaseSettings):
    """Read from the environment, prefix `ARR_PIXEL_JUDGE_`."""

    model_config = SettingsConfigDict(
        env_prefix="ARR_PIXEL_JUDGE_", frozen=True, extra="forbid", use_attribute_docstrings=True
    )

    scale: float = Field(default=8.0, gt=0)
    """Nats of log-odds per unit of score difference; scores lie in 0 to 1."""
    position_bias: float = 0.0
    """Nats added in favour of the image shown first."""
    noise: float = Field(default=0.0, ge=0)
    """Standard deviation of Gaussian noise on the log-odds, nats; the same request gets the same noise."""
    fresh_noise: bool = False
    """Draw new noise for every call, as a server that is not deterministic does."""
    label_mass: float = Field(default=0.999, gt=0, le=1)
    """Probability of both labels together; the rest goes to the token "The"."""
    latency_ms: float = Field(default=0.0, ge=0)
    """Wait before every answer, milliseconds."""
    error_rate: float = Field(default=0.0, ge=0, le=1)
    """Share of chat requests answered with `error_status`."""
    error_status: int = Field(default=500, ge=400, le=599)
    """HTTP status of these."""
    seed: int = 0
    """Seed of noise and errors."""
