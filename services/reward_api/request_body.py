"""The body of `POST /reward`, in either of its forms: the bytes of `meta`, and the bytes of each image by its id.

Owns telling the forms apart and unpacking them; what the bytes mean is checked in `admission`. A JSON body has the
fields of `meta` and, beside them, `images` in base64; it is turned into what a multipart body would have held, so that
both are checked by the same code and refused in the same words.

The one rule: nothing is named twice, neither a part nor a key.
"""

import asyncio
import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from services.reward_api.errors import BodyTooLarge, InvalidImage, InvalidRequest, UnsupportedMediaType
from services.reward_api.multipart import MULTIPART, read_parts
from shared_schemas.problems import FieldError

JSON = "application/json"

META = "meta"

IMAGES = "images"

MAX_JSON_BYTES = 16 * 1024 * 1024
"""JSON is parsed in one go, during which nothing else runs: about 40 ms for this many bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RewardBody:
    """What was sent, unpacked and not yet understood."""

    meta: bytes
    """JSON."""
    images: Mapping[str, bytes]
    """Image id → what should be a PNG."""


async def read_body(request: Request, *, max_images: int) -> RewardBody:
    """Unpack the body.

    Raises `UnsupportedMediaType`, `BodyTooLarge` for JSON of more than `MAX_JSON_BYTES`, `InvalidRequest` for a damaged
    body, a name that occurs twice and more than `max_images` images, and `InvalidImage` for text that is no base64.
    """
    content_type, options = parse_options_header(request.headers.get("Content-Type"))
    match content_type.decode("latin-1"):
        case "multipart/form-data":
            parts = await read_parts(request, boundary=options.get(b"boundary", b""), max_parts=1 + max_images)
            if META not in parts:
                raise InvalidRequest(f"the part {META!r} is missing", part=META)
            return RewardBody(meta=parts.pop(META), images=parts)
        case "application/json":
            return await asyncio.to_thread(_parse_json, await _read_json(request), max_images=max_images)
    raise UnsupportedMediaType(f"send {MULTIPART} or {JSON}")


async def _read_json(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_JSON_BYTES:
            raise BodyTooLarge(f"a JSON body has at most {MAX_JSON_BYTES} bytes; send larger ones as {MULTIPART}")
    return bytes(body)


def _parse_json(body: bytes, *, max_images: int) -> RewardBody:
    fields = _object(body)
    images = fields.pop(IMAGES, None)
    if not isinstance(images, dict):
        message = "must be an object: image id → PNG in base64"
        raise InvalidRequest(f"{IMAGES} {message}", errors=[FieldError(where=IMAGES, message=message)])
    if len(images) > max_images:
        raise InvalidRequest(f"more than {max_images} images were sent")
    return RewardBody(
        meta=json.dumps(fields).encode(), images={name: _decode(name, text) for name, text in images.items()}
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body.decode(), object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("the body is not sound JSON") from error
    if not isinstance(fields, dict):
        raise InvalidRequest("the body must be a JSON object")
    return fields


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in fields if names.count(name) > 1)
        raise InvalidRequest(f"{twice[:80]!r} occurs twice in one object of the body")
    return fields


def _decode(name: str, text: object) -> bytes:
    """Standard alphabet, padded (RFC 4648, section 4); blanks and line breaks, as `base64` writes them, are skipped."""
    try:
        if isinstance(text, str):
            return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):  # ValueError: not even ASCII
        pass
    raise InvalidImage(f"the image {name[:80]!r} is not base64 text", part=name)
