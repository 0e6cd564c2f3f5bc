"""What Schemathesis cannot know: which requests get past the first check. Named in `SCHEMATHESIS_HOOKS`.

The one rule: only requests that the document allows are changed, into others that it allows.
"""

import base64
import json
from typing import Any

import schemathesis
from schemathesis import Case
from schemathesis.generation.meta import TestPhase

from tests.reliability.questions import GREYS, grey_png

RUBRIC = "light"
"""Published beforehand; beside it, there are a dataset and judgements."""

_REFERENCES = (RUBRIC, f"{RUBRIC}@1", f"{RUBRIC}@none", "nowhere")
_PNGS = [grey_png(name) for name in GREYS]


@schemathesis.hook
def map_case(_context: Any, case: Case) -> Case:
    """Name what is there, as often as not, and send the images that are named."""
    if case.meta is None or case.meta.generation.mode.is_negative:
        return case
    if case.meta.phase.name is not TestPhase.STATEFUL:  # whose links name what the answers before named
        _name_what_is_there(case.path_parameters)
    if isinstance(case.body, dict):
        case.body = _with_what_is_there(case.operation.path, case.body)
    return case


def _name_what_is_there(path_parameters: dict[str, Any]) -> None:
    for name, value in path_parameters.items():
        if name == "name" and len(str(value)) % 2:
            path_parameters[name] = RUBRIC
        if name in {"id", "version"} and int(value) % 2:
            path_parameters[name] = 1


def _with_what_is_there(path: str, body: dict[str, Any]) -> dict[str, Any]:
    match path, body:
        case "/reward", {"images": _}:
            return _with_images(body)
        case "/datasets", {"pairs": str() as pairs}:
            return _dataset(prompt=pairs)
        case (("/evaluations" | "/rubrics/{name}/learn"), {"dataset": _}):
            return body | {"dataset": 1}
    return body


def _with_images(body: dict[str, Any]) -> dict[str, Any]:
    groups = [{**group, "source": None} for group in body["groups"]]
    named = sorted({image for group in groups for image in group["candidates"]})
    images = {image: base64.b64encode(_PNGS[place % len(_PNGS)]).decode() for place, image in enumerate(named)}
    changed = body | {"groups": groups, "images": images, "tie_score": None}
    if isinstance(body["rubric"], str):
        changed["rubric"] = _REFERENCES[len(body["rubric"]) % len(_REFERENCES)]
    return changed


def _dataset(prompt: str) -> dict[str, Any]:
    row = {"prompt": prompt or "a lamp", "images": ["a.png", "b.png"], "rank": [1, 2]}
    return {"pairs": json.dumps(row), "a.png": _PNGS[0], "b.png": _PNGS[-1]}
