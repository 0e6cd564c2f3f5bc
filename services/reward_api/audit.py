"""The audit trail: every judgement a row, with its images where they are kept.

Owns the writer behind the requests and the retirement of what is old; rows, blobs and buffering are
`services.storage`'s, and whose images are kept is said by `kept_images`. The one rule: no request waits for the trail
or fails because of it; what does not reach it is counted.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import stamina
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from services.judging.images import JudgeImage
from services.judging.questions import ImageAnswer, JudgeFailure, PairAnswer
from services.reward_api.kept_images import HeldImages, Question, candidates_of, images_of, wants_images
from services.reward_api.settings import AuditImages
from services.storage.blobs import BlobStore, image_blob, rubric_blob
from services.storage.judgements import JudgementRecord, JudgementRepository
from services.storage.write_behind import WriteBehind, WriteBehindLimits
from shared_schemas.reward import JudgeIdentity, Run
from shared_schemas.rubrics import Mode, RubricContent, RubricIdentity

MAX_PENDING_IMAGE_BYTES = 256 * 1024 * 1024
"""PNG bytes that may wait to be stored; judgements beyond that are recorded without images."""

RETIRE_EVERY = timedelta(hours=1)
RETIRE_BATCH = 500
"""Rows deleted in one transaction: few enough that a request waiting for the database does not notice."""

Outcome: TypeAlias = PairAnswer | ImageAnswer | JudgeFailure

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgementContext:
    """On whose behalf, by what and by whom a question was judged."""

    tenant: str
    """Owner of the API key."""
    run: Run | None
    """The client's run, step and rank."""
    request_id: str | None
    """The `X-Request-Id`."""
    group: str
    """The group's id in the request."""
    rubric: RubricIdentity
    """What it was judged by; without a name it came with the request."""
    judge: JudgeIdentity
    """Who judged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """A judgement on its way, with what shall be kept of it."""

    record: JudgementRecord
    images: tuple[JudgeImage, ...] = ()
    inline_rubric: RubricContent | None = None


class AuditLog:
    """Writes judgements behind the requests that asked for them; `open()` it for as long as there are any."""

    def __init__(
        self,
        judgements: JudgementRepository,
        blobs: BlobStore,
        *,
        images: AuditImages = AuditImages.NONE,
        keep_for: timedelta | None = None,
        limits: WriteBehindLimits | None = None,
        max_pending_image_bytes: int = MAX_PENDING_IMAGE_BYTES,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`keep_for` none = for ever."""
        self._judgements = judgements
        self._blobs = blobs
        self._images = images
        self._keep_for = keep_for
        self._now = now
        self._held = HeldImages(max_bytes=max_pending_image_bytes)
        self._buffer = WriteBehind[_Entry](
            self._write, limits=limits or WriteBehindLimits(), on_gone=lambda entry: self._held.release(entry.images)
        )
        self._database_problem: str | None = None
        self._blob_problem: str | None = None
        self._num_without_images = 0
        # A blob that is being retired must not be found to be there by a judgement that is being written.
        self._blobs_turn = asyncio.Lock()

    @property
    def num_written(self) -> int:
        """Judgements written so far."""
        return self._buffer.num_written

    @property
    def num_pending(self) -> int:
        """Judgements not written yet."""
        return self._buffer.num_pending

    @property
    def num_dropped(self) -> int:
        """Judgements that will never be written: the buffer was full, or the end came first."""
        return self._buffer.num_dropped

    @property
    def num_without_images(self) -> int:
        """Judgements whose images should have been kept and could not be."""
        return self._num_without_images

    @property
    def problem(self) -> str | None:
        """What keeps judgements or images from being written now; none when nothing does."""
        return self._database_problem or self._blob_problem

    def record(self, question: Question, outcome: Outcome, context: JudgementContext) -> None:
        """Take down what came of a question. Returns at once and never fails."""
        entry = _Entry(record=_record(question, outcome, context, created=self._now()))
        if wants_images(self._images, question):
            images = images_of(question)
            if self._held.hold(images):
                inline = question.rubric if context.rubric.name is None else None
                entry = replace(entry, images=images, inline_rubric=inline)
            else:
                self._num_without_images += 1
        self._buffer.put(entry)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Write and retire while the block lasts; at its end what is pending is written."""
        async with self._buffer.open():
            retiring = asyncio.create_task(self._retire_again_and_again())
            try:
                yield
            finally:
                retiring.cancel()
                with suppress(asyncio.CancelledError):
                    await retiring

    async def retire(self) -> int:
        """Delete what is older than `keep_for`, and blobs that nothing refers to any more; returns how many rows.

        Raises `SQLAlchemyError` and `OSError`; what was deleted by then stays deleted.
        """
        if self._keep_for is None:
            return 0
        before, num_retired = self._now() - self._keep_for, 0
        while True:
            async with self._blobs_turn:
                retired = await self._judgements.retire(before=before, limit=RETIRE_BATCH)
                await self._blobs.delete(image_blob(digest) for digest in retired.image_digests)
                await self._blobs.delete(rubric_blob(digest) for digest in retired.rubric_digests)
            num_retired += retired.num_judgements
            if retired.num_judgements < RETIRE_BATCH:
                return num_retired

    async def _retire_again_and_again(self) -> None:
        while True:
            try:
                await self.retire()
            except (SQLAlchemyError, OSError):
                _log.exception("old judgements cannot be deleted; this is tried again in an hour")
            await asyncio.sleep(RETIRE_EVERY.total_seconds())

    async def _write(self, entries: Sequence[_Entry]) -> None:
        """Blobs first, so that a row that says they are kept is right; then the rows, as often as it takes."""
        async with self._blobs_turn:
            stored = await self._store_blobs(entries)
            records = [replace(entry.record, images_kept=stored and bool(entry.images)) for entry in entries]
            async for attempt in stamina.retry_context(
                on=self._can_pass, attempts=None, timeout=None, wait_initial=0.1, wait_jitter=0.1, wait_max=1.0
            ):
                with attempt:
                    await self._judgements.add(records)
            self._database_problem = None

    async def _store_blobs(self, entries: Sequence[_Entry]) -> bool:
        """Whether all images and inline rubric sets of `entries` are stored now; if not, the rows go without."""
        blobs = {image_blob(image.digest): image.png for entry in entries for image in entry.images}
        inline = {entry.record.rubric.digest: entry.inline_rubric for entry in entries if entry.inline_rubric}
        blobs |= {rubric_blob(digest): content.model_dump_json().encode() for digest, content in inline.items()}
        if not blobs:
            return True
        try:
            await self._blobs.put(blobs)
        except OSError as error:
            self._num_without_images += sum(bool(entry.images) for entry in entries)
            self._blob_problem = f"images cannot be kept ({type(error).__name__})"
            _log.warning("images cannot be kept", exc_info=error)
            return False
        self._blob_problem = None
        return True

    def _can_pass(self, error: Exception) -> bool:
        """Whether the same rows can be stored later: the database is locked, full or away."""
        if not isinstance(error, OperationalError | InterfaceError | PoolTimeoutError):
            return False
        self._database_problem = f"judgements cannot be written ({type(error).__name__})"
        return True


def _record(question: Question, outcome: Outcome, context: JudgementContext, *, created: datetime) -> JudgementRecord:
    first, *second = (image.digest for image in candidates_of(question))
    return JudgementRecord(
        created=created,
        tenant=context.tenant,
        run=context.run,
        request_id=context.request_id,
        group=context.group,
        mode=Mode.PAIRWISE if second else Mode.POINTWISE,
        rubric=context.rubric,
        judge=context.judge,
        prompt=question.prompt,
        first=first,
        second=second[0] if second else None,
        source=None if question.source is None else question.source.digest,
        asked=outcome.asked,
        error=outcome.type if isinstance(outcome, JudgeFailure) else None,
        images_kept=False,
    )
