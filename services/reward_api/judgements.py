"""`/judgements`: the audit trail, read. Writing it is `audit`'s.

The one rule: without an admin's key one sees one's own tenant's judgements, and cannot tell whether there are others.
"""

import asyncio
import base64
import re
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from pydantic import ValidationError

from services.reward_api.access import GuardedRoute, Principal, requires
from services.reward_api.errors import InvalidRequest, Unavailable, UnknownJudgement
from services.reward_api.openapi import problems
from services.reward_api.state import Services, ServicesDep
from services.storage.blobs import BlobStore, image_blob, rubric_blob
from services.storage.tables import MAX_ID
from shared_schemas.access import Scope
from shared_schemas.base import Identifier
from shared_schemas.judgements import Judgement, JudgementDetail, JudgementPage
from shared_schemas.problems import FieldError
from shared_schemas.rubrics import RubricContent, RubricReference, Task

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

router = APIRouter(tags=["judgements"], route_class=GuardedRoute)

Reader = Annotated[Principal, Depends(requires(Scope.REWARD))]


@router.get("/judgements", responses=problems())
async def list_judgements(
    services: ServicesDep,
    principal: Reader,
    run: Annotated[Identifier | None, Query(description="Only those of this run.")] = None,
    rubric: Annotated[
        str | None, Query(max_length=200, description="Only those by `name` (any version), `name@3` or a digest.")
    ] = None,
    before: Annotated[int | None, Query(ge=1, le=MAX_ID, description="`next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="Items per page.")] = 50,
) -> JudgementPage:
    """What was judged, newest first: every pair, and every image with all its criteria, failures too."""
    return await services.judgements.page(
        tenant=principal.visible_tenant,
        run=run,
        rubric=None if rubric is None else _rubric_filter(rubric),
        before=before,
        limit=limit,
    )


@router.get("/judgements/{id}", responses=problems(UnknownJudgement))
async def get_judgement(
    id: Annotated[int, Path(ge=1, le=MAX_ID)], services: ServicesDep, principal: Reader
) -> JudgementDetail:
    """One judgement with all that is needed to judge it again: what the rubric set said, and the images where kept."""
    judgement = await services.judgements.get(id, tenant=principal.visible_tenant)
    if judgement is None:
        raise UnknownJudgement(f"there is no judgement {id}")
    try:
        images, content = await asyncio.gather(_images(judgement, services.blobs), _rubric_content(judgement, services))
    except OSError as error:
        raise Unavailable("the kept images cannot be read") from error
    fields = judgement.model_dump() | {"images_kept": bool(images)}
    return JudgementDetail(**fields, rubric_content=content, images=images)


def _rubric_filter(text: str) -> RubricReference | str:
    """A digest or a reference. Raises `InvalidRequest` for what is neither, and for aliases."""
    if _DIGEST.fullmatch(text):
        return text
    try:
        reference = RubricReference.parse(text)
    except ValueError as error:
        raise _refused_rubric(str(error)) from error
    if reference.alias is not None and not reference.is_none:
        raise _refused_rubric(f"{text!r} is an alias and may have moved; ask by version, as in {reference.name}@3")
    return reference


def _refused_rubric(message: str) -> InvalidRequest:
    return InvalidRequest(message, errors=[FieldError(where="query.rubric", message=message)])


async def _images(judgement: Judgement, blobs: BlobStore) -> dict[str, str]:
    """Its images by their part in it, as base64; empty unless all of them are there."""
    if not judgement.images_kept:
        return {}
    parts = {"first": judgement.first, "second": judgement.second, "source": judgement.source}
    digests = {part: digest for part, digest in parts.items() if digest is not None}
    pngs = await asyncio.gather(*(blobs.get(image_blob(digest)) for digest in digests.values()))
    found = {part: base64.b64encode(png).decode() for part, png in zip(digests, pngs, strict=True) if png is not None}
    return found if len(found) == len(digests) else {}


async def _rubric_content(judgement: Judgement, services: Services) -> RubricContent | None:
    """What the rubric set said: published, empty (`name@none`), or kept beside the images."""
    identity = judgement.rubric
    if identity.name is None:
        content = _read_rubric(await services.blobs.get(rubric_blob(identity.digest)))
    elif identity.version is None:
        content = RubricContent(task=Task.T2I if judgement.source is None else Task.EDIT)
    else:
        content = (await services.rubrics.get(identity.name, identity.version)).content
    return content if content is not None and content.digest == identity.digest else None


def _read_rubric(blob: bytes | None) -> RubricContent | None:
    if blob is None:
        return None
    try:
        return RubricContent.model_validate_json(blob)
    except ValidationError:
        return None  # as good as not kept: a later version of the service may know other fields
