"""Settings of the service, read from the environment (`ARR_…`).

The one rule: each is described in docs/api.md and listed in deploy/env.example; a test compares them.
"""

import ipaddress
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AnyHttpUrl, Field, SecretStr, TypeAdapter, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from services.reward_api.api_keys import KeyFile, KeyFileError
from services.storage.blobs import BlobStore
from services.storage.database import is_readable_url
from services.storage.redis_verdicts import RedisVerdictCache
from shared_schemas.messages import first_refusal

ENV_PREFIX = "ARR_"

_BYTES_PER_MIB = 1024 * 1024

_HTTP_URL = TypeAdapter(AnyHttpUrl)


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class AuditImages(StrEnum):
    """Whose images are kept."""

    NONE = "none"
    SAMPLE = "sample"
    ALL = "all"


class WorkerPlace(StrEnum):
    """Who does jobs."""

    INLINE = "inline"
    NONE = "none"


class SettingsError(Exception):
    """The settings cannot be served; the message is one line that names the variable."""


class Settings(BaseSettings):
    """Everything that can be configured; the defaults need no other server."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, use_attribute_docstrings=True, frozen=True)

    data_dir: Path = Path(".arr")
    """Folder for everything that is kept."""
    database_url: SecretStr | None = None
    """Database: `sqlite+aiosqlite:///…` or `postgresql+psycopg://…`. Empty = `arr.db` in the data dir."""
    redis_url: SecretStr | None = None
    """Redis that remembers verdicts, such as `redis://cache:6379/0`. Empty = the database does."""
    blob_url: str | None = None
    """Where images are kept, as an fsspec URL. Empty = `blobs` in the data dir."""
    judge_urls: Annotated[tuple[str, ...], NoDecode] = ()
    """Base URLs of the judge's replicas with commas between, such as `http://gpu:8000/v1`. Empty = the pixel judge."""
    judge_model: str | None = None
    """Model to ask for. Empty = the one the judge serves."""
    judge_api_key: SecretStr | None = None
    """Bearer token for the judge."""
    chat_url: str | None = None
    """Base URL of the model that writes criteria, such as `https://host/v1`. Empty = the judge writes them itself."""
    chat_model: str | None = None
    """Model to ask for there. Empty = the one it serves."""
    chat_api_key: SecretStr | None = None
    """Bearer token for it."""
    embeddings_model: str | None = None
    """Model that learning jobs with `embedding: endpoint` ask for embeddings. Empty = there is none."""
    embeddings_url: str | None = None
    """Base URL of the server that has it. Empty = the one that writes criteria."""
    embeddings_api_key: SecretStr | None = None
    """Bearer token for that URL."""
    judge_max_pixels: int = Field(default=1_048_576, ge=1024)
    """Images with more pixels are scaled down to this many, in sides of multiples of 32, before they are judged."""
    max_judge_window: int = Field(default=256, ge=1, le=4096)
    """Most calls in flight at one replica; how many really are is found out by watching it."""
    max_queued_calls: int = Field(default=20_000, ge=1)
    """Judge calls that may wait; beyond that, requests are refused before their body is read."""
    position_bias_bound: float | None = Field(default=None, ge=0.0)
    """Nats that the judge's position bias hardly ever exceeds: see `arr judge-check`. `adaptive` orders need it."""
    canary_seconds: float = Field(default=300.0, ge=0.0)
    """How often known pairs are judged again to notice a judge that drifts; 0 = never."""
    api_keys: Path | None = None
    """File with hashed API keys, made by `arr keys add`. Empty = no keys: the service listens on loopback only."""
    share_verdicts: bool = False
    """Whether tenants share remembered verdicts."""
    audit_images: AuditImages = AuditImages.NONE
    """Whose images are kept for a replay: `none`, `sample` (one judgement in a hundred) or `all`."""
    audit_days: int = Field(default=30, ge=0)
    """How long judgements are kept; 0 = for ever."""
    worker: WorkerPlace = WorkerPlace.INLINE
    """Who does jobs: `inline` = this service, in its own process; `none` = `arr worker` processes beside it."""
    worker_jobs: int = Field(default=2, ge=1, le=64)
    """Jobs that one worker does at once."""
    job_lease_seconds: float = Field(default=30.0, ge=0.1, le=3600.0)
    """How long a worker may be silent before its jobs are begun again by another."""
    host: str = "127.0.0.1"
    """Address to listen on; loopback only, unless there are API keys."""
    port: int = Field(default=8080, ge=0, le=65535)
    """Port to listen on."""
    drain_seconds: float = Field(default=0.0, ge=0.0, le=3600.0)
    """How long new requests are still taken after SIGTERM, while `/readyz` answers 503: as long as balancers need."""
    max_body_mb: int = Field(default=256, ge=1, le=4096)
    """Largest request body, MiB."""
    max_dataset_mb: int = Field(default=4096, ge=1)
    """Largest dataset, MiB: the body of its upload, and what an archive unpacks to."""
    body_seconds: float = Field(default=30.0, ge=0.1, le=3600.0)
    """How long nothing of a request's body may come; a body slower than 100 kB a second is cut off somewhat later."""
    max_image_pixels: int = Field(default=16_000_000, ge=1)
    """Largest image, width × height."""
    max_image_side: int = Field(default=8192, ge=1)
    """Largest width or height of an image, pixels."""
    max_prompt_chars: int = Field(default=8000, ge=1)
    """Longest prompt, characters."""
    tie_margin: float = Field(default=0.05, ge=0.0)
    """Margins below this many nats are ties when a request names no `tie_margin`; 0.05 = a preference below 51.2 %."""
    min_label_mass: float = Field(default=0.5, ge=0.0, le=1.0)
    """Answers whose labels got a smaller probability than this, in either order, are `failed: judge-off-topic`."""
    deadline_seconds: float = Field(default=120.0, gt=0.0, le=3600.0)
    """How long a request may take when it names no `deadline_seconds`."""
    log_level: LogLevel = LogLevel.INFO
    """DEBUG, INFO, WARNING or ERROR."""

    @field_validator(
        *("database_url", "redis_url", "blob_url", "judge_model", "judge_api_key"),
        *("chat_url", "chat_model", "chat_api_key"),
        *("embeddings_model", "embeddings_url", "embeddings_api_key"),
        *("position_bias_bound", "api_keys"),
        mode="before",
    )
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("judge_urls", mode="before")
    @classmethod
    def _split_at_commas(cls, value: object) -> object:
        return tuple(url.strip() for url in value.split(",") if url.strip()) if isinstance(value, str) else value

    @field_validator("redis_url")
    @classmethod
    def _names_a_redis(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            RedisVerdictCache(url.get_secret_value())  # opens nothing; its refusals quote nothing
        return url

    @field_validator("blob_url")
    @classmethod
    def _has_a_file_system(cls, url: str | None) -> str | None:
        if url is not None:
            BlobStore(url)
        return url

    @field_validator("judge_urls")
    @classmethod
    def _http_urls(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            _check_http_url(url)
        if len(set(urls)) < len(urls):
            raise ValueError("names a replica twice")
        return urls

    @field_validator("chat_url", "embeddings_url")
    @classmethod
    def _http_url(cls, url: str | None) -> str | None:
        if url is not None:
            _check_http_url(url)
        return url

    @field_validator("chat_model", "chat_api_key")
    @classmethod
    def _needs_a_chat_url(cls, value: object, info: ValidationInfo) -> object:
        if value is not None and "chat_url" in info.data and info.data["chat_url"] is None:
            raise ValueError(f"means nothing without {ENV_PREFIX}CHAT_URL; without that, the judge writes")
        return value

    @field_validator("embeddings_url", "embeddings_api_key")
    @classmethod
    def _needs_its_embeddings(cls, value: object, info: ValidationInfo) -> object:
        needed = {"embeddings_url": "embeddings_model", "embeddings_api_key": "embeddings_url"}[str(info.field_name)]
        if value is not None and needed in info.data and info.data[needed] is None:
            raise ValueError(f"means nothing without {ENV_PREFIX}{needed.upper()}")
        return value

    @field_validator("judge_api_key", "chat_api_key", "embeddings_api_key", mode="before")
    @classmethod
    def _fits_a_header(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        key = value.strip()  # a key read from a file ends in a line break
        if not (key.isascii() and key.isprintable()):
            raise ValueError("must be printable ASCII")
        return key

    @field_validator("database_url")
    @classmethod
    def _is_a_known_database(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith(("sqlite+aiosqlite:///", "postgresql+psycopg://")):
            raise ValueError("must start with sqlite+aiosqlite:/// or postgresql+psycopg://")
        if url is not None and not is_readable_url(url.get_secret_value()):
            raise ValueError("is no URL; in user and password, write special characters as %40 (@), %2F (/), %3A (:)")
        return url

    @field_validator("host")
    @classmethod
    def _only_loopback_without_keys(cls, host: str, info: ValidationInfo) -> str:
        if info.data.get("api_keys") is None and not is_loopback(host):
            raise ValueError(
                f"{host} is not a loopback address; without API keys the service listens on 127.0.0.1 only "
                f"(`arr keys add` makes some, {ENV_PREFIX}API_KEYS names their file)"
            )
        return host

    @property
    def resolved_database_url(self) -> str:
        """The URL given, or SQLite in the data dir."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite+aiosqlite:///{self.data_dir / 'arr.db'}"

    @property
    def resolved_blob_url(self) -> str:
        """The URL given, or a folder in the data dir."""
        return self.blob_url or str(self.data_dir / "blobs")

    @property
    def max_body_bytes(self) -> int:
        """`max_body_mb` in bytes."""
        return self.max_body_mb * _BYTES_PER_MIB

    @property
    def max_dataset_bytes(self) -> int:
        """`max_dataset_mb` in bytes."""
        return self.max_dataset_mb * _BYTES_PER_MIB

    @property
    def embeddings_address(self) -> tuple[str, SecretStr | None] | None:
        """Base URL and bearer token of the server of embeddings; none without a model or a server."""
        addresses = [
            (self.embeddings_url, self.embeddings_api_key),
            (self.chat_url, self.chat_api_key),
            (self.judge_urls[0] if self.judge_urls else None, self.judge_api_key),
        ]
        known = [(url, key) for url, key in addresses if url is not None]
        return known[0] if known and self.embeddings_model is not None else None

    @property
    def uses_pixel_judge(self) -> bool:
        """Whether no judge is configured, so that the built-in one stands in."""
        return not self.judge_urls


def load_settings(**overrides: object) -> Settings:
    """Read the environment; `overrides` (command-line options) win. Raises `SettingsError` with one line."""
    try:
        settings = Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        path, message = first_refusal(error)
        raise SettingsError(f"{ENV_PREFIX}{'_'.join(path).upper()}: {message}") from error
    if settings.api_keys is not None:
        _check_key_file(KeyFile(settings.api_keys))
    return settings


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this very machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _check_http_url(url: str) -> None:
    if not url.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")
    try:
        _HTTP_URL.validate_python(url)
    except ValidationError as error:
        raise ValueError(error.errors()[0]["msg"]) from error


def _check_key_file(file: KeyFile) -> None:
    try:
        file.check_private()
        file.read()
    except KeyFileError as error:
        raise SettingsError(f"{ENV_PREFIX}API_KEYS: {error}") from error
