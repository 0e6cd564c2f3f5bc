"""`/rubrics`: publish versions, look them up, compare them, move aliases, archive."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from services.reward_api.access import GuardedRoute, Principal, requires
from services.reward_api.errors import AliasChanged, ArchivedAlias, BodyTooLarge, UnknownImage, UnknownRubric
from services.reward_api.guides import images_of_guide
from services.reward_api.openapi import problems
from services.reward_api.preconditions import PreconditionsDep, entity_tag
from services.reward_api.rubric_diff import diff_versions
from services.reward_api.state import Services, ServicesDep
from shared_schemas.access import Scope
from shared_schemas.base import Name
from shared_schemas.problems import FieldError
from shared_schemas.rubrics import (
    AliasName,
    AliasRequest,
    AliasState,
    PublishRequest,
    RubricContent,
    RubricDiff,
    RubricPage,
    RubricSummary,
    RubricVersion,
    VersionPage,
    json_digest,
)

MAX_VERSION = 999_999_999
"""As many digits as a rubric reference may have."""

READING = [Depends(requires(Scope.REWARD, Scope.RUBRICS))]
WRITING = [Depends(requires(Scope.RUBRICS))]

Publisher = Annotated[Principal, Depends(requires(Scope.RUBRICS))]

router = APIRouter(tags=["rubrics"], route_class=GuardedRoute)

Version = Annotated[int, Path(ge=1, le=MAX_VERSION)]
Limit = Annotated[int, Query(ge=1, le=200, description="Items per page.")]
Archived = Annotated[bool, Query(description="Also what is archived.")]


@router.get("/rubrics", dependencies=READING, responses=problems())
async def list_rubrics(
    services: ServicesDep,
    after: Annotated[Name | None, Query(description="`next` of the page before.")] = None,
    archived: Archived = False,
    limit: Limit = 50,
) -> RubricPage:
    """All rubric sets, ordered by name."""
    return await services.rubrics.summaries(after=after, archived=archived, limit=limit)


@router.post(
    "/rubrics/{name}/versions",
    status_code=HTTPStatus.CREATED,
    responses=problems(BodyTooLarge, UnknownImage)
    | {200: {"model": RubricVersion, "description": "This content is already published"}},
)
async def publish(
    name: Name, body: PublishRequest, services: ServicesDep, principal: Publisher, response: Response
) -> RubricVersion:
    """Publish content as the next version; content that some version already holds answers with that version."""
    await _check_guide(body.content, services, principal)
    version, is_new = await services.rubrics.publish(name, body.content, provenance=body.provenance)
    response.status_code = HTTPStatus.CREATED if is_new else HTTPStatus.OK
    response.headers["ETag"] = _version_tag(version)
    response.headers["Location"] = f"/rubrics/{name}/versions/{version.version}"
    return version


@router.get("/rubrics/{name}", dependencies=READING, responses=problems(UnknownRubric))
async def get_rubric(name: Name, services: ServicesDep) -> RubricSummary:
    """One rubric set at a glance."""
    return await services.rubrics.summary(name)


@router.get("/rubrics/{name}/versions", dependencies=READING, responses=problems(UnknownRubric))
async def list_versions(
    name: Name,
    services: ServicesDep,
    before: Annotated[int | None, Query(ge=1, le=MAX_VERSION, description="`next` of the page before.")] = None,
    archived: Archived = False,
    limit: Limit = 50,
) -> VersionPage:
    """The versions of one set, newest first."""
    return await services.rubrics.versions(name, before=before, archived=archived, limit=limit)


@router.get(
    "/rubrics/{name}/versions/{version}",
    dependencies=READING,
    response_model=RubricVersion,
    responses=problems(UnknownRubric) | {304: {"description": "The copy named by `If-None-Match` is still good"}},
)
async def get_version(
    name: Name, version: Version, services: ServicesDep, response: Response, conditions: PreconditionsDep
) -> RubricVersion | Response:
    """One version with its content and provenance, and what is attached to it."""
    found = await services.rubrics.get(name, version)
    tag = _version_tag(found)
    if conditions.is_fresh(tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"ETag": tag})
    response.headers["ETag"] = tag
    return found


@router.get("/rubrics/{name}/diff", dependencies=READING, responses=problems(UnknownRubric))
async def diff(
    name: Name,
    services: ServicesDep,
    before: Annotated[int, Query(alias="from", ge=1, le=MAX_VERSION, description="The version compared from.")],
    after: Annotated[int, Query(alias="to", ge=1, le=MAX_VERSION, description="The version compared to.")],
) -> RubricDiff:
    """What became of each criterion, matched by its id, from one version to another."""
    return diff_versions(await services.rubrics.get(name, before), await services.rubrics.get(name, after))


@router.post(
    "/rubrics/{name}/versions/{version}/archive",
    dependencies=WRITING,
    responses=problems(UnknownRubric, ArchivedAlias),
)
async def archive(name: Name, version: Version, services: ServicesDep) -> RubricVersion:
    """Hide a version from listings, and from what `name` alone means. It still resolves by its number."""
    return await services.rubrics.set_archived(name, version, archived=True)


@router.delete("/rubrics/{name}/versions/{version}/archive", dependencies=WRITING, responses=problems(UnknownRubric))
async def unarchive(name: Name, version: Version, services: ServicesDep) -> RubricVersion:
    """Take a version out of the archive."""
    return await services.rubrics.set_archived(name, version, archived=False)


@router.get("/rubrics/{name}/aliases/{alias}", dependencies=READING, responses=problems(UnknownRubric))
async def get_alias(name: Name, alias: AliasName, services: ServicesDep, response: Response) -> AliasState:
    """Where an alias points."""
    state = await services.rubrics.alias(name, alias)
    response.headers["ETag"] = entity_tag(state.version)
    return state


@router.put(
    "/rubrics/{name}/aliases/{alias}",
    dependencies=WRITING,
    responses=problems(UnknownRubric, AliasChanged, ArchivedAlias),
)
async def put_alias(
    name: Name,
    alias: AliasName,
    body: AliasRequest,
    services: ServicesDep,
    response: Response,
    conditions: PreconditionsDep,
) -> AliasState:
    """Point an alias at a version. `If-Match` makes it compare-and-set, `If-None-Match: *` create-only."""
    state = await services.rubrics.set_alias(
        name,
        alias,
        body.version,
        allowed=lambda current: conditions.allow(None if current is None else entity_tag(current)),
    )
    response.headers["ETag"] = entity_tag(state.version)
    return state


@router.delete(
    "/rubrics/{name}/aliases/{alias}",
    dependencies=WRITING,
    status_code=HTTPStatus.NO_CONTENT,
    responses=problems(UnknownRubric, AliasChanged),
)
async def delete_alias(name: Name, alias: AliasName, services: ServicesDep, conditions: PreconditionsDep) -> None:
    """Remove an alias; its version stays."""
    await services.rubrics.delete_alias(
        name, alias, allowed=lambda current: conditions.allow(None if current is None else entity_tag(current))
    )


async def _check_guide(content: RubricContent, services: Services, principal: Principal) -> None:
    """Raise `UnknownImage` unless the principal can see a dataset with each image of each exemplar."""
    named = images_of_guide(content, where="body.content")
    known = await services.datasets.known_images(named.values(), tenant=principal.visible_tenant)
    missing = {where: digest for where, digest in named.items() if digest not in known}
    if missing:
        raise UnknownImage(
            f"no dataset has the images of the guide {', '.join(sorted(set(missing.values())))}; upload them first",
            errors=[FieldError(where=where, message=f"no dataset has {digest}") for where, digest in missing.items()],
        )


def _version_tag(version: RubricVersion) -> str:
    """The digest while nothing is attached; afterwards what is attached counts, too, as it can change."""
    attached = version.model_dump(mode="json", include={"calibration", "metrics", "archived"}, exclude_defaults=True)
    return entity_tag(f"{version.digest}+{json_digest(attached)}" if attached else version.digest)
