"""Everything that can be wrong with a reward request, said before the judge is asked.

The one rule: what leaves here can be judged; the client is at fault for all that does not, and is told which part.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from services.judging.images import InvalidImageError, JudgeImage, read_png
from services.reward_api.errors import (
    InvalidImage,
    InvalidRequest,
    PromptTooLong,
    TaskMismatch,
    UnknownImage,
    UnusedImage,
    field_errors,
)
from services.storage.rubrics import RubricRepository
from shared_schemas.problems import FieldError
from shared_schemas.reward import Group, RewardRequest
from shared_schemas.rubrics import RubricContent, RubricIdentity, RubricReference, Task

META = "meta"


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedRubric:
    """What a request is judged by: fixed once, for all its groups."""

    identity: RubricIdentity
    content: RubricContent


def read_meta(parts: Mapping[str, bytes], *, max_prompt_chars: int) -> RewardRequest:
    """Validate the `meta` part. Raises `InvalidRequest` and `PromptTooLong`."""
    if META not in parts:
        raise InvalidRequest(f"the part {META!r} is missing", part=META)
    try:
        meta = RewardRequest.model_validate_json(parts[META])
    except ValidationError as error:
        errors = field_errors(error.errors(include_url=False, include_input=False), root=META)
        raise InvalidRequest(f"the part {META!r} does not validate", part=META, errors=errors) from error
    for index, group in enumerate(meta.groups):
        if len(group.prompt) > max_prompt_chars:
            message = f"has {len(group.prompt)} characters; at most {max_prompt_chars} are read"
            where = f"{META}.groups.{index}.prompt"
            raise PromptTooLong(f"{where} {message}", part=META, errors=[FieldError(where=where, message=message)])
    return meta


async def resolve_rubric(meta: RewardRequest, rubrics: RubricRepository) -> ResolvedRubric:
    """Look the rubric up and check that it fits the groups.

    Raises `InvalidRequest` for text that is no reference, `UnknownRubricError`, and `TaskMismatch`.
    """
    try:
        reference = RubricReference.parse(meta.rubric)
    except ValueError as error:
        where = f"{META}.rubric"
        raise InvalidRequest(str(error), part=META, errors=[FieldError(where=where, message=str(error))]) from error
    if reference.is_none:
        content = RubricContent(task=_task_of(meta.groups[0]))
        identity = RubricIdentity(name=reference.name, version=None, digest=content.digest)
    else:
        found = await rubrics.resolve(reference)
        content = found.content
        identity = RubricIdentity(name=found.name, version=found.version, digest=found.digest)
    _check_task(meta.groups, content.task)
    return ResolvedRubric(identity=identity, content=content)


def check_image_ids(groups: Sequence[Group], parts: Mapping[str, bytes]) -> None:
    """Raise `UnknownImage` or `UnusedImage` unless the parts are exactly the images that the groups name."""
    for index, group in enumerate(groups):
        for name in group.image_ids:
            if name not in parts or name == META:
                where = f"{META}.groups.{index}"
                raise UnknownImage(
                    f"group {group.id!r} names the image {name!r}, but no such part was sent",
                    part=name,
                    errors=[FieldError(where=where, message=f"there is no part {name!r}")],
                )
    used = {META}.union(*(group.image_ids for group in groups))
    for name in parts:
        if name not in used:
            raise UnusedImage(f"the part {name!r} is named by no group", part=name)


def decode_images(parts: Mapping[str, bytes], *, max_pixels: int, max_side: int) -> dict[str, JudgeImage]:
    """Decode every image part: slow, so run it in a thread. Raises `InvalidImage`."""
    images = {}
    for name, data in parts.items():
        if name == META:
            continue
        try:
            images[name] = read_png(data, max_pixels=max_pixels, max_side=max_side)
        except InvalidImageError as error:
            raise InvalidImage(f"the part {name!r} cannot be judged: {error}", part=name) from error
    return images


def _task_of(group: Group) -> Task:
    return Task.T2I if group.source is None else Task.EDIT


def _check_task(groups: Sequence[Group], task: Task) -> None:
    for index, group in enumerate(groups):
        if _task_of(group) is not task:
            needs = "needs a source image" if task is Task.EDIT else "must not have a source image"
            where = f"{META}.groups.{index}.source"
            message = f"a group judged for the task {task.value!r} {needs}"
            raise TaskMismatch(f"{where}: {message}", part=META, errors=[FieldError(where=where, message=message)])
