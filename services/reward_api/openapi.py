"""The OpenAPI document where the framework cannot know: problem answers and the multipart body of `/reward`."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from services.reward_api.errors import ApiError, InvalidRequest, Unavailable
from services.reward_api.multipart import MULTIPART
from shared_schemas.problems import PROBLEM_MEDIA_TYPE, Problem, ProblemType
from shared_schemas.reward import RewardRequest

_REF = "#/components/schemas/{model}"

Responses = dict[int | str, dict[str, Any]]
"""FastAPI's type of an operation's documented answers."""


def problems(*kinds: type[ApiError]) -> Responses:
    """Documentation of the refusals an operation can answer with, those that every operation has included."""
    documented: tuple[type[ApiError], ...] = (*kinds, InvalidRequest, Unavailable)
    by_status: dict[HTTPStatus, list[str]] = {HTTPStatus.INTERNAL_SERVER_ERROR: [ProblemType.INTERNAL]}
    for kind in documented:
        by_status.setdefault(kind.status, []).append(kind.type)
    content = {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": _REF.format(model=Problem.__name__)}}}
    return {
        int(status): {"description": f"`{'`, `'.join(slugs)}`", "content": content}
        for status, slugs in sorted(by_status.items())
    }


def reward_body() -> dict[str, Any]:
    """`openapi_extra` for the multipart body: `meta`, and one part per image under the name used in `meta`."""
    schema = {
        "type": "object",
        "required": ["meta"],
        "properties": {"meta": {"$ref": _REF.format(model=RewardRequest.__name__)}},
        "additionalProperties": {"type": "string", "format": "binary", "description": "A PNG, named as in `meta`."},
    }
    encoding = {"meta": {"contentType": "application/json"}}
    return {"requestBody": {"required": True, "content": {MULTIPART: {"schema": schema, "encoding": encoding}}}}


class DocumentedApi(FastAPI):
    """A FastAPI app whose document also holds the schemas that only `problems` and `reward_body` refer to."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        document = super().openapi()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        for name, schema in _definitions((Problem, RewardRequest)).items():
            schemas.setdefault(name, schema)
        return document


def _definitions(models: Iterable[type[BaseModel]]) -> dict[str, Any]:
    _, document = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    definitions: dict[str, Any] = document["$defs"]
    return definitions
