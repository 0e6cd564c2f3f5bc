"""Judgements in the database: written in bulk, listed newest first, retired when they are old.

Owns the rows; whose images are kept and where is decided elsewhere. Takes what the judge said in the types of
`services.judging.questions`, and hands it out as `shared_schemas.judgements`. The one rule: a row is never changed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from services.judging.answers import LabelAnswer
from services.judging.questions import Asked
from services.storage.database import Database
from services.storage.tables import JudgementRow
from shared_schemas.judgements import Judgement, JudgementAnswer, JudgementPage
from shared_schemas.problems import FailureType
from shared_schemas.reward import JudgeIdentity, Run
from shared_schemas.rubrics import Mode, RubricIdentity, RubricReference

_IMAGES = (JudgementRow.first, JudgementRow.second, JudgementRow.source)


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgementRecord:
    """A judgement before it has an id; the fields mean what those of `Judgement` do."""

    created: datetime
    tenant: str
    run: Run | None
    request_id: str | None
    group: str
    mode: Mode
    rubric: RubricIdentity
    judge: JudgeIdentity
    prompt: str
    first: str
    second: str | None
    source: str | None
    asked: tuple[Asked, ...]
    error: FailureType | None
    images_kept: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Retired:
    """What came of deleting old judgements."""

    num_judgements: int
    """How many are gone."""
    image_digests: frozenset[str]
    """Their kept images that no other judgement keeps."""
    rubric_digests: frozenset[str]
    """Their kept inline rubric sets that no other judgement keeps."""


class JudgementRepository:
    """All judgements of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, records: Sequence[JudgementRecord]) -> None:
        """Store all of them or none, by one statement. Raises `sqlalchemy.exc.SQLAlchemyError`."""
        rows = [_values(record) for record in records]
        async with self._database.writing() as session:
            await session.execute(insert(JudgementRow), rows)

    async def page(
        self,
        *,
        tenant: str | None,
        run: str | None = None,
        rubric: RubricReference | str | None = None,
        before: int | None = None,
        limit: int,
    ) -> JudgementPage:
        """Up to `limit` judgements, newest first, those with ids below `before`.

        `tenant` none = of all tenants. `rubric` is a digest, or a reference: every version of `name`, or one. An alias
        other than `none` names no version here.
        """
        query = select(JudgementRow).order_by(JudgementRow.id.desc()).limit(limit + 1)
        if tenant is not None:
            query = query.where(JudgementRow.tenant == tenant)
        if run is not None:
            query = query.where(JudgementRow.run == run)
        if rubric is not None:
            query = query.where(*_judged_by(rubric))
        if before is not None:
            query = query.where(JudgementRow.id < before)
        async with self._database.reading() as session:
            rows = (await session.scalars(query)).all()
        items = tuple(_judgement(row) for row in rows[:limit])
        return JudgementPage(items=items, next=items[-1].id if len(rows) > limit else None)

    async def get(self, id: int, *, tenant: str | None) -> Judgement | None:
        """One judgement; none when there is none, or it is not `tenant`'s (none = any tenant's)."""
        async with self._database.reading() as session:
            row = await session.get(JudgementRow, id)
        return None if row is None or tenant not in {None, row.tenant} else _judgement(row)

    async def retire(self, *, before: datetime, limit: int) -> Retired:
        """Delete up to `limit` of the judgements that were made earlier than `before`, the oldest first."""
        oldest = select(JudgementRow).where(JudgementRow.created < before).order_by(JudgementRow.created).limit(limit)
        async with self._database.writing() as session:
            rows = (await session.scalars(oldest)).all()
            await session.execute(delete(JudgementRow).where(JudgementRow.id.in_([row.id for row in rows])))
            kept = [row for row in rows if row.images_kept]
            images = {digest for row in kept for digest in (row.first, row.second, row.source) if digest is not None}
            rubrics = {row.rubric_digest for row in kept if row.rubric_name is None}
            return Retired(
                num_judgements=len(rows),
                image_digests=frozenset(images - await _needed_images(session, images)),
                rubric_digests=frozenset(rubrics - await _needed_rubrics(session, rubrics)),
            )


def _judged_by(rubric: RubricReference | str) -> list[ColumnElement[bool]]:
    if isinstance(rubric, str):
        return [JudgementRow.rubric_digest == rubric]
    conditions: list[ColumnElement[bool]] = [JudgementRow.rubric_name == rubric.name]
    if rubric.version is not None or rubric.is_none:
        conditions.append(JudgementRow.rubric_version.is_not_distinct_from(rubric.version))
    return conditions


async def _needed_images(session: AsyncSession, digests: Iterable[str]) -> set[str | None]:
    """Those of `digests` that some judgement keeps."""
    wanted, needed = list(digests), set[str | None]()
    for column in _IMAGES:
        needed.update(await session.scalars(select(column).where(JudgementRow.images_kept, column.in_(wanted))))
    return needed


async def _needed_rubrics(session: AsyncSession, digests: Iterable[str]) -> set[str]:
    column = JudgementRow.rubric_digest
    kept_inline = (JudgementRow.images_kept, JudgementRow.rubric_name.is_(None), column.in_(list(digests)))
    return set(await session.scalars(select(column).where(*kept_inline).distinct()))


def _values(record: JudgementRecord) -> dict[str, object]:
    run = record.run
    return {
        "created": record.created,
        "tenant": record.tenant,
        "run": None if run is None else run.id,
        "step": None if run is None else run.step,
        "rank": None if run is None else run.rank,
        "request_id": record.request_id,
        "group_id": record.group,
        "mode": record.mode.value,
        "rubric_name": record.rubric.name,
        "rubric_version": record.rubric.version,
        "rubric_digest": record.rubric.digest,
        "judge_model": record.judge.model,
        "judge_fingerprint": record.judge.fingerprint,
        "prompt": record.prompt,
        "first": record.first,
        "second": record.second,
        "source": record.source,
        "answers": [_answer(asked).model_dump(mode="json") for asked in record.asked],
        "error": None if record.error is None else record.error.value,
        "images_kept": record.images_kept,
    }


def _answer(asked: Asked) -> JudgementAnswer:
    answer = asked.answer
    log_probs = answer if isinstance(answer, LabelAnswer) else None
    return JudgementAnswer(
        key=asked.key,
        question=asked.question,
        log_p_first=None if log_probs is None else log_probs.log_p_first,
        log_p_second=None if log_probs is None else log_probs.log_p_second,
        label_mass=None if log_probs is None else log_probs.label_mass,
        chose_first=answer.chose_first,
        cached=asked.cached,
        latency_ms=None if asked.seconds is None else 1000 * asked.seconds,
    )


def _judgement(row: JudgementRow) -> Judgement:
    return Judgement(
        id=row.id,
        created=row.created,
        tenant=row.tenant,
        run=row.run,
        step=row.step,
        rank=row.rank,
        request_id=row.request_id,
        group=row.group_id,
        mode=Mode(row.mode),
        rubric=RubricIdentity(name=row.rubric_name, version=row.rubric_version, digest=row.rubric_digest),
        judge=JudgeIdentity(model=row.judge_model, fingerprint=row.judge_fingerprint),
        prompt=row.prompt,
        first=row.first,
        second=row.second,
        source=row.source,
        answers=tuple(JudgementAnswer.model_validate(answer) for answer in row.answers),
        error=None if row.error is None else FailureType(row.error),
        images_kept=row.images_kept,
    )
