"""`/datasets`: labelled image pairs, uploaded once and then read.

The one rule: without an admin's key one sees one's own tenant's datasets, and cannot tell whether there are others.
"""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from services.reward_api.access import GuardedRoute, Principal, requires
from services.reward_api.errors import (
    BodyTooLarge,
    InvalidDataset,
    StorageFull,
    Unavailable,
    UnknownDataset,
    UnsupportedMediaType,
)
from services.reward_api.openapi import dataset_body, dataset_image, problems
from services.reward_api.preconditions import entity_tag
from services.reward_api.state import Services, ServicesDep
from services.storage.tables import MAX_ID, MAX_POSITION
from shared_schemas.access import Scope
from shared_schemas.base import Digest
from shared_schemas.datasets import Dataset, DatasetPage, DatasetRowPage

router = APIRouter(tags=["datasets"], route_class=GuardedRoute)

Reader = Annotated[Principal, Depends(requires(Scope.REWARD, Scope.RUBRICS))]
Writer = Annotated[Principal, Depends(requires(Scope.RUBRICS))]

DatasetId = Annotated[int, Path(ge=1, le=MAX_ID)]


@router.post(
    "/datasets",
    status_code=HTTPStatus.CREATED,
    responses=problems(BodyTooLarge, UnsupportedMediaType, InvalidDataset, StorageFull)
    | {200: {"model": Dataset, "description": "A dataset of these rows is already there"}},
    openapi_extra=dataset_body(),
)
async def upload_dataset(request: Request, services: ServicesDep, principal: Writer, response: Response) -> Dataset:
    """Store labelled rows and their images; rows that some dataset of the tenant already holds answer with that one."""
    dataset, is_new = await services.intake.receive(request, tenant=principal.tenant)
    response.status_code = HTTPStatus.CREATED if is_new else HTTPStatus.OK
    response.headers["Location"] = f"/datasets/{dataset.id}"
    return dataset


@router.get("/datasets", responses=problems())
async def list_datasets(
    services: ServicesDep,
    principal: Reader,
    before: Annotated[int | None, Query(ge=1, le=MAX_ID, description="`next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="Items per page.")] = 50,
) -> DatasetPage:
    """All datasets, newest first."""
    return await services.datasets.page(tenant=principal.visible_tenant, before=before, limit=limit)


@router.get("/datasets/{id}", responses=problems(UnknownDataset))
async def get_dataset(id: DatasetId, services: ServicesDep, principal: Reader) -> Dataset:
    """What is known about a dataset without reading its rows."""
    return await visible_dataset(id, services, principal)


@router.get("/datasets/{id}/pairs", responses=problems(UnknownDataset))
async def list_rows(
    id: DatasetId,
    services: ServicesDep,
    principal: Reader,
    after: Annotated[int | None, Query(ge=0, le=MAX_POSITION, description="`next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="Items per page.")] = 100,
) -> DatasetRowPage:
    """The rows of a dataset, in the order of the upload."""
    await visible_dataset(id, services, principal)
    return await services.datasets.row_page(id, after=after, limit=limit)


@router.get(
    "/datasets/{id}/images/{digest}",
    response_class=Response,
    responses=problems(UnknownDataset) | dataset_image(),
)
async def get_image(id: DatasetId, digest: Digest, services: ServicesDep, principal: Reader) -> Response:
    """An image file of a dataset, byte for byte as it came."""
    await visible_dataset(id, services, principal)
    format = await services.datasets.image_format(id, digest)
    if format is None:
        raise UnknownDataset(f"the dataset {id} has no image {digest}")
    try:
        data = await services.datasets.image(digest)
    except OSError as error:
        raise Unavailable("the image cannot be read") from error
    headers = {
        "ETag": entity_tag(digest),
        "Cache-Control": "private, max-age=31536000, immutable",  # the address names the content
        "X-Content-Type-Options": "nosniff",
    }
    return Response(data, media_type=format.media_type, headers=headers)


async def visible_dataset(id: int, services: Services, principal: Principal) -> Dataset:
    """A dataset that this key may see. Raises `UnknownDataset`, also for another tenant's."""
    dataset = await services.datasets.get(id, tenant=principal.visible_tenant)
    if dataset is None:
        raise UnknownDataset(f"there is no dataset {id}")
    return dataset
