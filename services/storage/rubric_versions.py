"""Reading rubric versions: each with the records that are attached to it, in one statement.

Owns which version a name, a number or an alias means; what may be done to versions is `rubrics`' business. The one
rule: an archived version is nobody's newest, and is found by its number as before.
"""

from collections.abc import Mapping
from itertools import groupby
from typing import Any, TypeAlias

from sqlalchemy import Select, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from services.storage.errors import UnknownRubricError
from services.storage.tables import RubricAliasRow, RubricCalibrationRow, RubricMetricsRow, RubricVersionRow
from shared_schemas.rubrics import Calibration, RubricContent, RubricReference, RubricVersion, VersionMetrics

VersionQuery: TypeAlias = Select[RubricVersionRow, dict[str, object], str, dict[str, object]]
"""A version, its metrics (none = it has none), and one of its calibrations by its judge (none = it has none)."""


def select_versions() -> VersionQuery:
    """All versions with their records, for `read_versions`; a version stands there once per calibration."""
    metrics = (RubricMetricsRow.name == RubricVersionRow.name) & (RubricMetricsRow.version == RubricVersionRow.version)
    query = select(RubricVersionRow, RubricMetricsRow.record, RubricCalibrationRow.judge, RubricCalibrationRow.record)
    query = query.outerjoin(RubricMetricsRow, metrics)
    return query.outerjoin(RubricCalibrationRow, RubricCalibrationRow.digest == RubricVersionRow.digest)


_NAMED = select_versions().where(RubricVersionRow.name == bindparam("name"))

_BY_NUMBER = _NAMED.where(RubricVersionRow.version == bindparam("version"))
"""These three are built once: reward requests ask them, and building one takes as long as answering it."""

_BY_ALIAS = _NAMED.where(
    RubricVersionRow.version
    == select(RubricAliasRow.version)
    .where(RubricAliasRow.name == bindparam("name"), RubricAliasRow.alias == bindparam("alias"))
    .scalar_subquery()
)

_NEWEST = _NAMED.where(
    RubricVersionRow.version
    == select(func.max(RubricVersionRow.version))
    .where(RubricVersionRow.name == bindparam("name"), RubricVersionRow.archived.is_(None))
    .scalar_subquery()
)


async def find_version(session: AsyncSession, reference: RubricReference) -> RubricVersion:
    """The version that a reference names now. Raises `UnknownRubricError`, also for `name@none`: it names none."""
    by_name = _NEWEST if reference.alias is None else _BY_ALIAS
    query = by_name if reference.version is None else _BY_NUMBER
    found = await read_versions(session, query, reference.model_dump())
    if not found:
        raise UnknownRubricError(await _what_is_missing(session, reference))
    return found[0]


async def read_versions(
    session: AsyncSession, query: VersionQuery, parameters: Mapping[str, object] | None = None
) -> list[RubricVersion]:
    """The versions of a `select_versions()` whose order keeps the rows of one version together."""
    versions = []
    for row, found in groupby(await session.execute(query, parameters), key=lambda columns: columns[0]):
        _, metrics, judge, record = zip(*found, strict=True)
        calibration = {
            fingerprint: Calibration.model_validate(fitted)
            for fingerprint, fitted in zip(judge, record, strict=True)
            if fingerprint is not None
        }
        versions.append(_version(row, metrics=metrics[0], calibration=calibration))
    return versions


async def knows_set(session: AsyncSession, name: str) -> bool:
    """Whether there is any version, archived or not."""
    query = select(RubricVersionRow.version).where(RubricVersionRow.name == name).limit(1)
    return await session.scalar(query) is not None


async def _what_is_missing(session: AsyncSession, reference: RubricReference) -> str:
    if reference.alias is not None:
        return f"rubric set {reference.name!r} has no alias {reference.alias!r}"
    if reference.version is None and await knows_set(session, reference.name):
        return f"every version of the rubric set {reference.name!r} is archived; name one by its number"
    return f"there is no rubric {reference}"


def _version(
    row: RubricVersionRow, *, metrics: Mapping[str, Any] | None, calibration: dict[str, Calibration]
) -> RubricVersion:
    return RubricVersion(
        name=row.name,
        version=row.version,
        digest=row.digest,
        content=RubricContent.model_validate(row.content),
        provenance=row.provenance,
        created=row.created,
        calibration=calibration,
        metrics=None if metrics is None else VersionMetrics.model_validate(metrics),
        archived=row.archived is not None,
    )
