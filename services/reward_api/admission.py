"""Everything that can be wrong with a reward request, said before the judge is asked.

The one rule: what leaves here can be judged; the client is at fault for all that does not, and is told which part.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from services.reward_api.errors import (
    ApiError,
    InvalidRequest,
    PromptTooLong,
    TaskMismatch,
    UnknownImage,
    UnusedImage,
    field_errors,
)
from services.reward_api.request_body import META
from services.storage.rubrics import RubricRepository
from shared_schemas.problems import FieldError
from shared_schemas.reward import Group, RewardRequest
from shared_schemas.rubrics import Calibration, RubricContent, RubricIdentity, RubricReference, Task


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedRubric:
    """What a request is judged by: fixed once, for all its groups."""

    identity: RubricIdentity
    content: RubricContent
    calibration: Mapping[str, Calibration]
    """Judge fingerprint → how its margins by this content are to be read."""


def read_meta(meta: bytes, *, max_prompt_chars: int) -> RewardRequest:
    """Validate the `meta` part. Raises `InvalidRequest` and `PromptTooLong`."""
    try:
        request = RewardRequest.model_validate_json(meta)
    except ValidationError as error:
        errors = field_errors(error.errors(include_url=False, include_input=False), root=META)
        raise InvalidRequest(f"{META!r} does not validate", part=META, errors=errors) from error
    for index, group in enumerate(request.groups):
        if len(group.prompt) > max_prompt_chars:
            message = f"has {len(group.prompt)} characters; at most {max_prompt_chars} are read"
            raise wrong_field(f"groups.{index}.prompt", message, kind=PromptTooLong)
    return request


def wrong_field(path: str, message: str, *, kind: type[ApiError] = InvalidRequest) -> ApiError:
    """The refusal of one field of `meta`; `path` is relative to it."""
    where = f"{META}.{path}"
    return kind(f"{where}: {message}", part=META, errors=[FieldError(where=where, message=message)])


async def resolve_rubric(meta: RewardRequest, rubrics: RubricRepository) -> ResolvedRubric:
    """Look the rubric up and check that it fits the groups.

    Raises `InvalidRequest` for text that is no reference, `UnknownRubricError`, and `TaskMismatch`.
    """
    if isinstance(meta.rubric, RubricContent):
        rubric = await _unpublished(meta.rubric, rubrics, name=None)
    else:
        rubric = await _look_up(meta.rubric, rubrics, task=_task_of(meta.groups[0]))
    _check_task(meta.groups, rubric.content.task)
    return rubric


def check_image_ids(groups: Sequence[Group], images: Mapping[str, bytes]) -> None:
    """Raise `UnknownImage` or `UnusedImage` unless exactly the images that the groups name were sent."""
    for index, group in enumerate(groups):
        for name in group.image_ids:
            if name not in images:
                raise UnknownImage(
                    f"group {group.id!r} names the image {name!r}, but no such image was sent",
                    part=name,
                    errors=[FieldError(where=f"{META}.groups.{index}", message=f"there is no image {name!r}")],
                )
    used = {name for group in groups for name in group.image_ids}
    for name in images:
        if name not in used:
            raise UnusedImage(f"the image {name[:80]!r} is named by no group", part=name)


async def _look_up(text: str, rubrics: RubricRepository, *, task: Task) -> ResolvedRubric:
    """The set that a reference names; `task` is that of `name@none`, which has none of its own."""
    try:
        reference = RubricReference.parse(text)
    except ValueError as error:
        raise wrong_field("rubric", str(error)) from error
    if reference.is_none:
        return await _unpublished(RubricContent(task=task), rubrics, name=reference.name)
    found = await rubrics.resolve(reference)
    identity = RubricIdentity(name=found.name, version=found.version, digest=found.digest)
    return ResolvedRubric(identity=identity, content=found.content, calibration=found.calibration)


async def _unpublished(content: RubricContent, rubrics: RubricRepository, *, name: str | None) -> ResolvedRubric:
    identity = RubricIdentity(name=name, version=None, digest=content.digest)
    calibration = await rubrics.calibrations(identity.digest)
    return ResolvedRubric(identity=identity, content=content, calibration=calibration)


def _task_of(group: Group) -> Task:
    return Task.T2I if group.source is None else Task.EDIT


def _check_task(groups: Sequence[Group], task: Task) -> None:
    for index, group in enumerate(groups):
        if _task_of(group) is not task:
            needs = "needs a source image" if task is Task.EDIT else "must not have a source image"
            message = f"a group judged for the task {task.value!r} {needs}"
            raise wrong_field(f"groups.{index}.source", message, kind=TaskMismatch)
