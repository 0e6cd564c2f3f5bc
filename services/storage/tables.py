"""The tables, in the words of the domain. `migrations/` builds them; a test keeps both the same."""

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

MAX_ID = 2**63 - 1
"""The largest id that a database counts to."""

MAX_POSITION = 2**31 - 1
"""The largest place of a row in a dataset."""

_CONSTRAINT_NAMES = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC instant, also on SQLite, which stores no time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store UTC without a zone."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Read it back as UTC."""
        return None if value is None else value.replace(tzinfo=UTC)


class Table(DeclarativeBase):
    """Base of all tables; constraints are named so that migrations can change them on every database."""

    metadata = MetaData(naming_convention=_CONSTRAINT_NAMES)


class RubricVersionRow(Table):
    """One immutable version of a rubric set."""

    __tablename__ = "rubric_versions"
    __table_args__ = (UniqueConstraint("name", "digest"),)

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(String(71))
    content: Mapped[dict[str, object]] = mapped_column(JSON)
    provenance: Mapped[dict[str, object]] = mapped_column(JSON)
    created: Mapped[datetime] = mapped_column(UtcDateTime)
    archived: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """Since when it is left out of listings; the one column that changes."""


class RubricAliasRow(Table):
    """Where an alias of a rubric set points."""

    __tablename__ = "rubric_aliases"
    __table_args__ = (ForeignKeyConstraint(["name", "version"], ["rubric_versions.name", "rubric_versions.version"]),)

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    alias: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[int]


class VerdictRow(Table):
    """One judge answer, kept under the digest of the request that it answers."""

    __tablename__ = "verdicts"

    key: Mapped[str] = mapped_column(String(128), primary_key=True)
    answer: Mapped[str] = mapped_column(Text)
    created: Mapped[datetime] = mapped_column(UtcDateTime)


def _index_of_kept(column: str) -> Index:
    """Finds out who still needs an image; most judgements keep none and are not in it.

    SQLite uses such an index only for queries that repeat its condition letter by letter, and writes booleans as 1.
    """
    name = f"ix_judgements_kept_{column}"
    return Index(name, column, sqlite_where=text("images_kept = 1"), postgresql_where=text("images_kept"))


class JudgementRow(Table):
    """One judgement: who asked what, by which rubric and judge, and what the judge said."""

    __tablename__ = "judgements"
    __table_args__ = (
        *(_index_of_kept(column) for column in ("first", "second", "source")),
        {"sqlite_autoincrement": True},  # the id of a row that is gone is never given to another
    )

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    created: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    tenant: Mapped[str] = mapped_column(String(128))
    run: Mapped[str | None] = mapped_column(String(128), index=True)
    step: Mapped[int | None] = mapped_column(BigInteger)
    rank: Mapped[int | None] = mapped_column(BigInteger)
    request_id: Mapped[str | None] = mapped_column(String(128))
    group_id: Mapped[str] = mapped_column(String(128))
    mode: Mapped[str] = mapped_column(String(16))
    rubric_name: Mapped[str | None] = mapped_column(String(64), index=True)
    rubric_version: Mapped[int | None]
    rubric_digest: Mapped[str] = mapped_column(String(71), index=True)
    judge_model: Mapped[str] = mapped_column(Text)
    judge_fingerprint: Mapped[str] = mapped_column(String(71))
    prompt: Mapped[str] = mapped_column(Text)
    first: Mapped[str] = mapped_column(String(71))
    second: Mapped[str | None] = mapped_column(String(71))
    source: Mapped[str | None] = mapped_column(String(71))
    answers: Mapped[list[dict[str, object]]] = mapped_column(JSON)
    error: Mapped[str | None] = mapped_column(String(64))
    images_kept: Mapped[bool]


class JobRow(Table):
    """One job: what was asked for, who works on it, how far it is and what came of it."""

    __tablename__ = "jobs"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 - SQLAlchemy's way; the id of a row is given once

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    created: Mapped[datetime] = mapped_column(UtcDateTime)
    kind: Mapped[str] = mapped_column(String(64))
    tenant: Mapped[str] = mapped_column(String(128))
    parameters: Mapped[dict[str, object]] = mapped_column(JSON)
    seed: Mapped[int] = mapped_column(BigInteger)
    request_digest: Mapped[str] = mapped_column(String(71))
    state: Mapped[str] = mapped_column(String(16), index=True)
    reason: Mapped[str | None] = mapped_column(String(64))
    cancel_requested: Mapped[bool]
    attempt: Mapped[int]
    num_lost: Mapped[int]
    worker: Mapped[str | None] = mapped_column(String(128))
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    started: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished: Mapped[datetime | None] = mapped_column(UtcDateTime)
    stages: Mapped[list[dict[str, object]]] = mapped_column(JSON)
    judge_calls: Mapped[int] = mapped_column(BigInteger)
    tokens: Mapped[int] = mapped_column(BigInteger)
    result: Mapped[dict[str, object] | None] = mapped_column(JSON(none_as_null=True))
    error_detail: Mapped[str | None] = mapped_column(Text)
    revision: Mapped[int]


class DatasetSummaryRow(Table):
    """What is known about one dataset without reading its rows."""

    __tablename__ = "datasets"
    __table_args__ = (UniqueConstraint("tenant", "digest"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    tenant: Mapped[str] = mapped_column(String(128))
    digest: Mapped[str] = mapped_column(String(71))
    task: Mapped[str] = mapped_column(String(16))
    num_rows: Mapped[int]
    num_pairs: Mapped[int] = mapped_column(BigInteger)
    num_ties: Mapped[int] = mapped_column(BigInteger)
    num_images: Mapped[int]
    num_bytes: Mapped[int] = mapped_column(BigInteger)
    created: Mapped[datetime] = mapped_column(UtcDateTime)


class DatasetContentRow(Table):
    """One labelled row of a dataset, at its place."""

    __tablename__ = "dataset_rows"
    __table_args__ = (ForeignKeyConstraint(["dataset_id"], ["datasets.id"]),)

    dataset_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[dict[str, object]] = mapped_column(JSON)


class DatasetImageRow(Table):
    """One image file that rows of a dataset show; the file itself is a blob."""

    __tablename__ = "dataset_images"
    __table_args__ = (ForeignKeyConstraint(["dataset_id"], ["datasets.id"]),)

    dataset_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    digest: Mapped[str] = mapped_column(String(71), primary_key=True, index=True)
    format: Mapped[str] = mapped_column(String(16))
    num_bytes: Mapped[int] = mapped_column(BigInteger)


class RubricMetricsRow(Table):
    """How well a rubric version did when it was last evaluated."""

    __tablename__ = "rubric_metrics"
    __table_args__ = (ForeignKeyConstraint(["name", "version"], ["rubric_versions.name", "rubric_versions.version"]),)

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    record: Mapped[dict[str, object]] = mapped_column(JSON)
    attached: Mapped[datetime] = mapped_column(UtcDateTime)


class RubricCalibrationRow(Table):
    """How the margins of one judge by one rubric content are to be read."""

    __tablename__ = "rubric_calibrations"

    digest: Mapped[str] = mapped_column(String(71), primary_key=True)
    judge: Mapped[str] = mapped_column(String(71), primary_key=True)
    record: Mapped[dict[str, object]] = mapped_column(JSON)
    attached: Mapped[datetime] = mapped_column(UtcDateTime)


class ChatAnswerRow(Table):
    """What a model wrote, kept under the digest of the request that it answers."""

    __tablename__ = "chat_answers"

    key: Mapped[str] = mapped_column(String(128), primary_key=True)
    answer: Mapped[str] = mapped_column(Text)
    created: Mapped[datetime] = mapped_column(UtcDateTime)
