"""What is attached to rubric versions after they are published: how they did, and how their margins are to be read.

Owns the two records and nothing of the versions themselves. Functions on an open session, so that a job attaches what
it found in the transaction that finishes it. The one rule: the last record of a kind is the one that counts.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from services.storage.errors import UnknownRubricError
from services.storage.tables import RubricCalibrationRow, RubricMetricsRow, RubricVersionRow, Table
from shared_schemas.rubrics import Calibration, VersionMetrics

_CALIBRATIONS = select(RubricCalibrationRow.judge, RubricCalibrationRow.record).where(
    RubricCalibrationRow.digest == bindparam("digest")
)
"""Built once: reward requests ask it."""


async def attach_metrics(session: AsyncSession, name: str, version: int, metrics: VersionMetrics) -> None:
    """Put `metrics` in place of what was known about how well a version does. Raises `UnknownRubricError`."""
    if await session.get(RubricVersionRow, (name, version)) is None:
        raise UnknownRubricError(f"there is no rubric {name}@{version}")
    record = metrics.model_dump(mode="json")
    await _replace(session, RubricMetricsRow, {"name": name, "version": version}, record)


async def attach_calibration(session: AsyncSession, digest: str, fingerprint: str, calibration: Calibration) -> None:
    """Say how the margins of the judge `fingerprint` by the content `digest` are to be read, from now on.

    Content needs no version for that: the empty set has a calibration, too.
    """
    record = calibration.model_dump(mode="json")
    await _replace(session, RubricCalibrationRow, {"digest": digest, "judge": fingerprint}, record)


async def calibrations_of(session: AsyncSession, digest: str) -> dict[str, Calibration]:
    """Judge fingerprint → how its margins by the content `digest` are to be read."""
    found = await session.execute(_CALIBRATIONS, {"digest": digest})
    return {judge: Calibration.model_validate(record) for judge, record in found}


async def _replace(
    session: AsyncSession, table: type[Table], key: Mapping[str, object], record: Mapping[str, Any]
) -> None:
    """Insert a row or overwrite the one with this key; two jobs may do so at the same time."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    values = {"record": dict(record), "attached": datetime.now(UTC)}
    statement = insert(table).values(**key, **values)
    await session.execute(statement.on_conflict_do_update(index_elements=list(key), set_=values))
