"""Rubric sets in the database: publish, look up, resolve references, move aliases, archive.

Owns the rules of versioning (dense numbers, content decides identity, aliases move by compare-and-set). Speaks in the
wire types of `shared_schemas.rubrics`, which are its domain types too.

The one rule: a version that was published never changes. What is known about it later is attached, and archiving it
hides it; no alias points at a version that is hidden.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import stamina
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from services.storage.database import Database
from services.storage.errors import AliasChangedError, ArchivedAliasError, UnknownRubricError
from services.storage.rubric_records import calibrations_of
from services.storage.rubric_versions import find_version, knows_set, read_versions, select_versions
from services.storage.tables import RubricAliasRow, RubricVersionRow
from shared_schemas.rubrics import (
    AliasState,
    Calibration,
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

        Content that some version already holds gives that version back, its provenance unchanged, and out of the
        archive if it was there. Publishers that race for a number are told apart by the primary key; the loser tries
        the next one.
        """
        async with self._database.writing() as session:
            return await publish_version(session, name, content, provenance=provenance)

    async def get(self, name: str, version: int | None = None) -> RubricVersion:
        """One version, or the newest that is not archived. Raises `UnknownRubricError`."""
        return await self.resolve(RubricReference(name=name, version=version))

    async def resolve(self, reference: RubricReference) -> RubricVersion:
        """The version a reference names now. Raises `UnknownRubricError`, also for `name@none`: it names no version."""
        async with self._database.reading() as session:
            return await find_version(session, reference)

    async def calibrations(self, digest: str) -> dict[str, Calibration]:
        """Judge fingerprint → calibration, of content that need not be published."""
        async with self._database.reading() as session:
            return await calibrations_of(session, digest)

    async def summary(self, name: str) -> RubricSummary:
        """A set at a glance. Raises `UnknownRubricError`, also when all its versions are archived."""
        async with self._database.reading() as session:
            newest = await find_version(session, RubricReference(name=name))
            return (await _summaries(session, [newest]))[0]

    async def summaries(self, *, after: str | None = None, archived: bool = False, limit: int) -> RubricPage:
        """Up to `limit` sets ordered by name, those after the name `after`.

        Sets whose versions are all archived are left out, unless `archived`.
        """
        listed = RubricVersionRow.archived.is_(None)
        newest = func.coalesce(func.max(RubricVersionRow.version).filter(listed), func.max(RubricVersionRow.version))
        sets = select(RubricVersionRow.name, newest.label("version"))
        sets = sets.group_by(RubricVersionRow.name).order_by(RubricVersionRow.name).limit(limit + 1)
        if not archived:
            sets = sets.where(listed)
        if after is not None:
            sets = sets.where(RubricVersionRow.name > after)
        page = sets.subquery()
        rows = select_versions().order_by(RubricVersionRow.name)
        rows = rows.join(page, (RubricVersionRow.name == page.c.name) & (RubricVersionRow.version == page.c.version))
        async with self._database.reading() as session:
            found = await read_versions(session, rows)
            items = await _summaries(session, found[:limit])
        return RubricPage(items=tuple(items), next=items[-1].name if len(found) > limit else None)

    async def versions(
        self, name: str, *, before: int | None = None, archived: bool = False, limit: int
    ) -> VersionPage:
        """Up to `limit` versions of a set, newest first, those below `before`; archived ones only if `archived`.

        Raises `UnknownRubricError` for a set without any version.
        """
        numbers = select(RubricVersionRow.version).where(RubricVersionRow.name == name)
        numbers = numbers.order_by(RubricVersionRow.version.desc()).limit(limit + 1)
        if before is not None:
            numbers = numbers.where(RubricVersionRow.version < before)
        if not archived:
            numbers = numbers.where(RubricVersionRow.archived.is_(None))
        rows = select_versions().where(RubricVersionRow.name == name, RubricVersionRow.version.in_(numbers))
        async with self._database.reading() as session:
            if not await knows_set(session, name):
                raise UnknownRubricError(f"there is no rubric {name}")
            found = await read_versions(session, rows.order_by(RubricVersionRow.version.desc()))
        items = tuple(found[:limit])
        return VersionPage(items=items, next=items[-1].version if len(found) > limit else None)

    async def set_archived(self, name: str, version: int, *, archived: bool) -> RubricVersion:
        """Hide a version from listings, or show it again.

        Raises `UnknownRubricError`, and `ArchivedAliasError` while an alias points at it.
        """
        async with self._database.writing() as session:
            row = await _locked_version(session, name, version)
            if archived:
                await _check_no_alias_points_at(session, name, version)
            row.archived = (row.archived or datetime.now(UTC)) if archived else None
            await session.flush()
            return await find_version(session, RubricReference(name=name, version=version))

    async def alias(self, name: str, alias: str) -> AliasState:
        """Where an alias points. Raises `UnknownRubricError`."""
        async with self._database.reading() as session:
            row = await session.get(RubricAliasRow, (name, alias))
        if row is None:
            raise _no_such_alias(name, alias)
        return _alias(row)

    @stamina.retry(on=IntegrityError, attempts=20, wait_initial=0.005, wait_jitter=0.05, wait_max=0.5)
    async def set_alias(
        self, name: str, alias: str, version: int, *, allowed: AliasPrecondition = always
    ) -> AliasState:
        """Point an alias at a version, if `allowed` holds for where it points at that moment.

        Raises `UnknownRubricError` when there is no such version, `ArchivedAliasError` when it is archived, and
        `AliasChangedError` when `allowed` says no.
        """
        async with self._database.writing() as session:
            return await point_alias(session, name, alias, version, allowed=allowed)

    async def delete_alias(self, name: str, alias: str, *, allowed: AliasPrecondition = always) -> None:
        """Remove an alias. Raises `UnknownRubricError` and `AliasChangedError`."""
        async with self._database.writing() as session:
            row = await session.get(RubricAliasRow, (name, alias), with_for_update=True)
            _check(allowed, row, name=name, alias=alias)
            if row is None:
                raise _no_such_alias(name, alias)
            await session.delete(row)


async def publish_version(
    session: AsyncSession, name: str, content: RubricContent, *, provenance: Mapping[str, Any]
) -> tuple[RubricVersion, bool]:
    """What `RubricRepository.publish` does, in a transaction that is already open.

    Raises `sqlalchemy.exc.IntegrityError` when another publisher took the number, which cannot happen on SQLite.
    """
    of_name = select(RubricVersionRow).where(RubricVersionRow.name == name)
    row = await session.scalar(of_name.where(RubricVersionRow.digest == content.digest))
    is_new = row is None
    if row is None:
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
    row.archived = None
    await session.flush()
    return await find_version(session, RubricReference(name=name, version=row.version)), is_new


async def point_alias(
    session: AsyncSession, name: str, alias: str, version: int, *, allowed: AliasPrecondition = always
) -> AliasState:
    """What `RubricRepository.set_alias` does, in a transaction that is already open.

    Raises `sqlalchemy.exc.IntegrityError`, too, when another created the alias, which cannot happen on SQLite.
    """
    target = await _locked_version(session, name, version)
    row = await session.get(RubricAliasRow, (name, alias), with_for_update=True)
    _check(allowed, row, name=name, alias=alias)
    if target.archived is not None:
        raise ArchivedAliasError(
            f"{name}@{version} is archived; take it out of the archive before an alias points at it"
        )
    if row is None:
        row = RubricAliasRow(name=name, alias=alias, version=version)
        session.add(row)
    row.version = version
    await session.flush()
    return _alias(row)


def _check(allowed: AliasPrecondition, row: RubricAliasRow | None, *, name: str, alias: str) -> None:
    current = None if row is None else row.version
    if not allowed(current):
        state = "does not exist" if current is None else f"points at version {current}"
        raise AliasChangedError(f"{name}@{alias} {state} now; read it again and decide anew")


async def _check_no_alias_points_at(session: AsyncSession, name: str, version: int) -> None:
    query = select(RubricAliasRow.alias).where(RubricAliasRow.name == name, RubricAliasRow.version == version)
    if aliases := (await session.scalars(query.order_by(RubricAliasRow.alias))).all():
        names = ", ".join(f"{name}@{alias}" for alias in aliases)
        raise ArchivedAliasError(f"{name}@{version} is in use: move or remove {names} before it is archived")


async def _locked_version(session: AsyncSession, name: str, version: int) -> RubricVersionRow:
    """The row, kept from others until the transaction ends: of alias and archive, the second sees the first."""
    row = await session.get(RubricVersionRow, (name, version), with_for_update=True)
    if row is None:
        raise UnknownRubricError(f"there is no rubric {name}@{version}")
    return row


def _no_such_alias(name: str, alias: str) -> UnknownRubricError:
    return UnknownRubricError(f"rubric set {name!r} has no alias {alias!r}")


async def _summaries(session: AsyncSession, newest: Sequence[RubricVersion]) -> list[RubricSummary]:
    names = [version.name for version in newest]
    aliases: dict[str, dict[str, int]] = {name: {} for name in names}
    query = select(RubricAliasRow).where(RubricAliasRow.name.in_(names)).order_by(RubricAliasRow.alias)
    for row in await session.scalars(query):
        aliases[row.name][row.alias] = row.version
    return [_summary(version, aliases=aliases[version.name]) for version in newest]


def _summary(newest: RubricVersion, *, aliases: Mapping[str, int]) -> RubricSummary:
    return RubricSummary(
        name=newest.name,
        latest=newest.version,
        digest=newest.digest,
        task=newest.content.task,
        mode=newest.content.mode,
        num_criteria=len(newest.content.criteria),
        aliases=dict(aliases),
        metrics=newest.metrics,
        archived=newest.archived,
    )


def _alias(row: RubricAliasRow) -> AliasState:
    return AliasState(name=row.name, alias=row.alias, version=row.version)
