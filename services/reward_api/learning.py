"""Asking for rubric sets to be learned and measured. The work is a job's; here it is checked and queued.

The one rule: what can be known to be wrong when it is asked for is refused then, not by a job that fails an hour later.
"""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response

from services.reward_api.access import GuardedRoute, Principal, requires
from services.reward_api.datasets import visible_dataset
from services.reward_api.errors import BodyTooLarge, InvalidRequest, TaskMismatch, UnknownDataset, UnknownRubric
from services.reward_api.openapi import problems
from services.reward_api.state import ServicesDep
from services.storage.jobs import JobRepository
from services.storage.rubrics import RubricRepository
from shared_schemas.access import Scope
from shared_schemas.base import Name
from shared_schemas.datasets import Dataset
from shared_schemas.evaluations import EvaluationRequest
from shared_schemas.jobs import EVALUATE, LEARN, JobAccepted
from shared_schemas.learning import LearnRequest
from shared_schemas.problems import FieldError
from shared_schemas.rubrics import RubricIdentity, RubricReference, Task

router = APIRouter(tags=["learning"], route_class=GuardedRoute)

Learner = Annotated[Principal, Depends(requires(Scope.RUBRICS))]


@router.post(
    "/rubrics/{name}/learn",
    status_code=HTTPStatus.ACCEPTED,
    responses=problems(BodyTooLarge, UnknownDataset, TaskMismatch),
)
async def learn(
    name: Name, body: LearnRequest, services: ServicesDep, principal: Learner, response: Response
) -> JobAccepted:
    """Learn a rubric set from labelled pairs and publish it as the next version of this one. The job does it."""
    dataset = await visible_dataset(body.dataset, services, principal)
    if body.task not in {None, dataset.task}:
        raise _wrong_field("task", f"the dataset {dataset.id} is for the task {dataset.task.value!r}", TaskMismatch)
    parameters = {"name": name, **body.model_dump(mode="json", exclude={"seed"})}
    return await _start(LEARN, parameters, seed=body.seed, dataset=dataset, jobs=services.jobs, response=response)


@router.post(
    "/evaluations",
    status_code=HTTPStatus.ACCEPTED,
    responses=problems(BodyTooLarge, UnknownDataset, UnknownRubric, TaskMismatch),
)
async def evaluate(
    body: EvaluationRequest, services: ServicesDep, principal: Learner, response: Response
) -> JobAccepted:
    """Measure rubric versions on labelled pairs. The job does it, on the versions that are named at this moment."""
    dataset = await visible_dataset(body.dataset, services, principal)
    pinned = [
        await _pin(reference, services.rubrics, task=dataset.task, where=f"rubrics.{index}")
        for index, reference in enumerate(body.rubrics)
    ]
    parameters = body.model_dump(mode="json", exclude={"seed"}) | {"rubrics": list(dict.fromkeys(pinned))}
    return await _start(EVALUATE, parameters, seed=body.seed, dataset=dataset, jobs=services.jobs, response=response)


async def _start(
    kind: str, parameters: dict[str, Any], *, seed: int, dataset: Dataset, jobs: JobRepository, response: Response
) -> JobAccepted:
    """Queue the job. It is the dataset's tenant's, also when an admin asks for it: what it reads is theirs."""
    job, _ = await jobs.create(kind, tenant=dataset.tenant, parameters=parameters, seed=seed)
    response.headers["Location"] = f"/jobs/{job.id}"
    return JobAccepted(job=job)


async def _pin(text: str, rubrics: RubricRepository, *, task: Task, where: str) -> str:
    """The reference that names for ever what this one names now.

    Raises `InvalidRequest` for text that is no reference, `UnknownRubricError`, and `TaskMismatch`.
    """
    try:
        reference = RubricReference.parse(text)
    except ValueError as error:
        raise _wrong_field(where, str(error)) from error
    if reference.is_none:
        return str(reference)
    found = await rubrics.resolve(reference)
    if found.content.task is not task:
        raise _wrong_field(
            where, f"{text} is for the task {found.content.task.value!r}, the dataset is not", TaskMismatch
        )
    return RubricIdentity(name=found.name, version=found.version, digest=found.digest).reference


def _wrong_field(path: str, message: str, kind: type[InvalidRequest] = InvalidRequest) -> InvalidRequest:
    where = f"body.{path}"
    return kind(f"{where}: {message}", errors=[FieldError(where=where, message=message)])
