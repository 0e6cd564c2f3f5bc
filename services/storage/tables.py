"""The tables, in the words of the domain. `migrations/` builds them; a test keeps both the same."""

from datetime import UTC, datetime

from sqlalchemy import JSON, DateTime, ForeignKeyConstraint, MetaData, String, TypeDecorator, UniqueConstraint
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

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
    log_p_first: Mapped[float]
    log_p_second: Mapped[float]
    label_mass: Mapped[float]
    prompt_tokens: Mapped[int]
    completion_tokens: Mapped[int]
    checksum: Mapped[str] = mapped_column(String(64))
    created: Mapped[datetime] = mapped_column(UtcDateTime)
