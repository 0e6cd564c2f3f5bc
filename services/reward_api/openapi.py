"""The OpenAPI document where the framework cannot know: problems, API keys, and multipart bodies."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from services.judging.dataset_images import ImageFormat
from services.reward_api.access import SECURITY_SCHEME
from services.reward_api.dataset_intake import ARCHIVE
from services.reward_api.errors import ApiError, Forbidden, InvalidRequest, Unauthenticated, Unavailable
from services.reward_api.multipart import MULTIPART
from services.reward_api.request_body import IMAGES, JSON, META
from services.reward_api.tensors import SAFETENSORS
from services.storage.dataset_rows import ROWS
from shared_schemas.problems import PROBLEM_MEDIA_TYPE, Problem, ProblemType
from shared_schemas.reward import RewardRequest

_REF = "#/components/schemas/{model}"

_SECURITY_SCHEMES = {
    SECURITY_SCHEME: {
        "type": "http",
        "scheme": "bearer",
        "description": "A key made by `arr keys add`. The scope `admin` includes the others. A service without keys "
        "asks for none.",
    }
}

Responses = dict[int | str, dict[str, Any]]
"""FastAPI's type of an operation's documented answers."""


def problems(*kinds: type[ApiError], needs_key: bool = True) -> Responses:
    """Documentation of the refusals an operation can answer with, those that every operation has included."""
    documented: tuple[type[ApiError], ...] = (*kinds, Forbidden, InvalidRequest, Unavailable)
    if needs_key:
        documented = (Unauthenticated, *documented)
    by_status: dict[HTTPStatus, list[str]] = {HTTPStatus.INTERNAL_SERVER_ERROR: [ProblemType.INTERNAL]}
    for kind in documented:
        by_status.setdefault(kind.status, []).append(kind.type)
    content = {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": _REF.format(model=Problem.__name__)}}}
    return {
        int(status): {"description": f"`{'`, `'.join(slugs)}`", "content": content}
        for status, slugs in sorted(by_status.items())
    }


def reward_body() -> dict[str, Any]:
    """`openapi_extra` for the body of `/reward`: `meta` and one part per image, or the same as one JSON object."""
    multipart = {
        "type": "object",
        "required": [META],
        "properties": {META: {"$ref": _REF.format(model=RewardRequest.__name__)}},
        "additionalProperties": {"type": "string", "format": "binary", "description": "A PNG, named as in `meta`."},
    }
    content = {
        MULTIPART: {"schema": multipart, "encoding": {META: {"contentType": JSON}}},
        JSON: {"schema": _reward_as_json()},
    }
    return {"requestBody": {"required": True, "content": content}}


def reward_answers() -> Responses:
    """Documentation of the answer's other form."""
    tensors = {"type": "string", "format": "binary", "description": "The rewards as tensors; see docs/api.md."}
    return {int(HTTPStatus.OK): {"content": {SAFETENSORS: {"schema": tensors}}}}


def dataset_body() -> dict[str, Any]:
    """`openapi_extra` for the body of `POST /datasets`: `pairs` and one part per image, or one `archive`."""
    binary = {"type": "string", "format": "binary"}
    by_parts = {
        "type": "object",
        "required": [ROWS],
        "properties": {ROWS: {"type": "string", "description": "Rows as JSON Lines or a JSON array; see docs/api.md."}},
        "additionalProperties": binary | {"description": "A PNG, JPEG or WebP file, named as in the rows."},
    }
    in_one = {
        "type": "object",
        "required": [ARCHIVE],
        "properties": {ARCHIVE: binary | {"description": "A tar, tar.gz or zip with `pairs.jsonl` and the images."}},
        "additionalProperties": False,
    }
    return {"requestBody": {"required": True, "content": {MULTIPART: {"schema": {"oneOf": [by_parts, in_one]}}}}}


def dataset_image() -> Responses:
    """Documentation of an image file as the answer."""
    schema = {"type": "string", "format": "binary"}
    content = {format.media_type: {"schema": schema} for format in ImageFormat}
    return {int(HTTPStatus.OK): {"description": "The file", "content": content}}


def _reward_as_json() -> dict[str, Any]:
    """The fields of `meta`, and `images` beside them."""
    fields = _definitions((RewardRequest,))[RewardRequest.__name__]
    png = {"type": "string", "contentEncoding": "base64", "description": "A PNG."}
    images = {"type": "object", "additionalProperties": png, "description": "Image id → PNG in base64."}
    return {
        **fields,
        "title": "RewardRequestWithImages",
        "properties": {**fields["properties"], IMAGES: images},
        "required": [*fields["required"], IMAGES],
    }


class DocumentedApi(FastAPI):
    """A FastAPI app whose document also holds the schemas that only `problems` and `reward_body` refer to."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        document = super().openapi()
        components = document.setdefault("components", {})
        components["securitySchemes"] = _SECURITY_SCHEMES
        schemas = components.setdefault("schemas", {})
        for name, schema in _definitions((Problem, RewardRequest)).items():
            schemas.setdefault(name, schema)
        return document


def _definitions(models: Iterable[type[BaseModel]]) -> dict[str, Any]:
    _, document = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    definitions: dict[str, Any] = document["$defs"]
    return definitions
