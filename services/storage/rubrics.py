"""Rubric sets in the database: publish, look up, resolve references, move aliases.

Owns the rules of versioning (dense numbers, content decides identity, aliases move by compare-and-set). Speaks in the
wire types of `shared_schemas.rubrics`, which are its domain types too.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import stamina
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from services.storage.database import Database
from services.storage.errors import AliasChangedError, UnknownRubricError
from services.storage.tables import RubricAliasRow, RubricVersionRow
from shared_schemas.rubrics import (
    AliasState,
    RubricContent,
    RubricPage,
    RubricReference,
    RubricSummary,
    RubricVersion,
    VersionPage,
)

AliasPrecondition = Callable[[int | None], bool]
"""Given the version an alias points at now (none = it does not exist): may it be changed?"""


def always(_current: int | None) -> bool:
    """The precondition that always holds."""
    return True


class RubricRepository:
    """All rubric sets of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @stamina.retry(on=IntegrityError, attempts=20, wait_initial=0.005, wait_jitter=0.05, wait_max=0.5)
    async def publish(
        self, name: str, content: RubricContent, *, provenance: Mapping[str, Any]
    ) -> tuple[RubricVersion, bool]:
        """Store `content` as the next version of `name`; returns it and whether it is new.

        Content that some version already holds gives that version back, its provenance unchanged. Publishers that race
        for a number are told apart by the primary key; the loser tries the next one.
        """
        async with self._database.writing() as session:
            return await publish_version(session, name, content, provenance=provenance)

    async def get(self, name: str, version: int | None = None) -> RubricVersion:
        """One version, or the newest. Raises `UnknownRubricError`."""
        async with self._database.reading() as session:
            return _version(await _version_row(session, name, version))

    async def resolve(self, reference: RubricReference) -> RubricVersion:
        """The version a reference names now. Raises `UnknownRubricError`, also for `name@none`: it names no version."""
        async with self._database.reading() as session:
            version = reference.version
            if reference.alias is not None:
                version = (await _alias_row(session, reference.name, reference.alias)).version
            return _version(await _version_row(session, reference.name, version))

    async def summary(self, name: str) -> RubricSummary:
        """A set at a glance. Raises `UnknownRubricError`."""
        async with self._database.reading() as session:
            newest = await _version_row(session, name, None)
            return (await _summaries(session, [newest]))[0]

    async def summaries(self, *, after: str | None = None, limit: int) -> RubricPage:
        """Up to `limit` sets ordered by name, those after the name `after`."""
        newest = select(RubricVersionRow.name, func.max(RubricVersionRow.version).label("version"))
        newest = newest.group_by(RubricVersionRow.name).order_by(RubricVersionRow.name).limit(limit + 1)
        if after is not None:
            newest = newest.where(RubricVersionRow.name > after)
        page = newest.subquery()
        rows = select(RubricVersionRow).order_by(RubricVersionRow.name)
        rows = rows.join(page, (RubricVersionRow.name == page.c.name) & (RubricVersionRow.version == page.c.version))
        async with self._database.reading() as session:
            found = (await session.scalars(rows)).all()
            items = await _summaries(session, found[:limit])
        return RubricPage(items=tuple(items), next=items[-1].name if len(found) > limit else None)

    async def versions(self, name: str, *, before: int | None = None, limit: int) -> VersionPage:
        """Up to `limit` versions of a set, newest first, those below `before`. Raises `UnknownRubricError`."""
        query = select(RubricVersionRow).where(RubricVersionRow.name == name).limit(limit + 1)
        query = query.order_by(RubricVersionRow.version.desc())
        if before is not None:
            query = query.where(RubricVersionRow.version < before)
        async with self._database.reading() as session:
            await _version_row(session, name, None)
            rows = (await session.scalars(query)).all()
        items = tuple(_version(row) for row in rows[:limit])
        return VersionPage(items=items, next=items[-1].version if len(rows) > limit else None)

    async def alias(self, name: str, alias: str) -> AliasState:
        """Where an alias points. Raises `UnknownRubricError`."""
        async with self._database.reading() as session:
            return _alias(await _alias_row(session, name, alias))

    @stamina.retry(on=IntegrityError, attempts=20, wait_initial=0.005, wait_jitter=0.05, wait_max=0.5)
    async def set_alias(
        self, name: str, alias: str, version: int, *, allowed: AliasPrecondition = always
    ) -> AliasState:
        """Point an alias at a version, if `allowed` holds for where it points at that moment.

        Raises `UnknownRubricError` when there is no such version, `AliasChangedError` when `allowed` says no.
        """
        async with self._database.writing() as session:
            await _version_row(session, name, version)
            row = await session.get(RubricAliasRow, (name, alias), with_for_update=True)
            _check(allowed, row, name=name, alias=alias)
            if row is None:
                row = RubricAliasRow(name=name, alias=alias, version=version)
                session.add(row)
            row.version = version
            await session.flush()
            return _alias(row)

    async def delete_alias(self, name: str, alias: str, *, allowed: AliasPrecondition = always) -> None:
        """Remove an alias. Raises like `set_alias`."""
        async with self._database.writing() as session:
            row = await session.get(RubricAliasRow, (name, alias), with_for_update=True)
            _check(allowed, row, name=name, alias=alias)
            if row is None:
                raise UnknownRubricError(f"rubric set {name!r} has no alias {alias!r}")
            await session.delete(row)


async def publish_version(
    session: AsyncSession, name: str, content: RubricContent, *, provenance: Mapping[str, Any]
) -> tuple[RubricVersion, bool]:
    """What `RubricRepository.publish` does, in a transaction that is already open.

    Raises `sqlalchemy.exc.IntegrityError` when another publisher took the number, which cannot happen on SQLite.
    """
    of_name = select(RubricVersionRow).where(RubricVersionRow.name == name)
    existing = await session.scalar(of_name.where(RubricVersionRow.digest == content.digest))
    if existing is not None:
        return _version(existing), False
    newest = await session.scalar(of_name.with_only_columns(func.max(RubricVersionRow.version)))
    row = RubricVersionRow(
        name=name,
        version=(newest or 0) + 1,
        digest=content.digest,
        content=content.model_dump(mode="json"),
        provenance=dict(provenance),
        created=datetime.now(UTC),
    )
    session.add(row)
    await session.flush()
    return _version(row), True


def _check(allowed: AliasPrecondition, row: RubricAliasRow | None, *, name: str, alias: str) -> None:
    current = None if row is None else row.version
    if not allowed(current):
        state = "does not exist" if current is None else f"points at version {current}"
        raise AliasChangedError(f"{name}@{alias} {state} now; read it again and decide anew")


async def _version_row(session: AsyncSession, name: str, version: int | None) -> RubricVersionRow:
    query = select(RubricVersionRow).where(RubricVersionRow.name == name)
    query = query.order_by(RubricVersionRow.version.desc()).limit(1)
    if version is not None:
        query = query.where(RubricVersionRow.version == version)
    row = await session.scalar(query)
    if row is None:
        raise UnknownRubricError(f"there is no rubric {name if version is None else f'{name}@{version}'}")
    return row


async def _alias_row(session: AsyncSession, name: str, alias: str) -> RubricAliasRow:
    row = await session.get(RubricAliasRow, (name, alias))
    if row is None:
        raise UnknownRubricError(f"rubric set {name!r} has no alias {alias!r}")
    return row


async def _summaries(session: AsyncSession, newest: Sequence[RubricVersionRow]) -> list[RubricSummary]:
    names = [row.name for row in newest]
    aliases: dict[str, dict[str, int]] = {name: {} for name in names}
    query = select(RubricAliasRow).where(RubricAliasRow.name.in_(names)).order_by(RubricAliasRow.alias)
    for row in await session.scalars(query):
        aliases[row.name][row.alias] = row.version
    return [_summary(_version(row), aliases=aliases[row.name]) for row in newest]


def _summary(newest: RubricVersion, *, aliases: Mapping[str, int]) -> RubricSummary:
    return RubricSummary(
        name=newest.name,
        latest=newest.version,
        digest=newest.digest,
        task=newest.content.task,
        mode=newest.content.mode,
        num_criteria=len(newest.content.criteria),
        aliases=dict(aliases),
    )


def _version(row: RubricVersionRow) -> RubricVersion:
    return RubricVersion(
        name=row.name,
        version=row.version,
        digest=row.digest,
        content=RubricContent.model_validate(row.content),
        provenance=row.provenance,
        created=row.created,
    )


def _alias(row: RubricAliasRow) -> AliasState:
    return AliasState(name=row.name, alias=row.alias, version=row.version)
