"""Random requests, made by Schemathesis from the OpenAPI document: every operation, with a key and without.

Checked of every answer: no error of the server's, a documented status, content type, header and body; that what the
document forbids is refused, and that no operation but the probes answers without a key or with a wrong one.
`RELIABILITY_SCALE` is how many seeds are tried.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.reward_api.api_keys import KeyFile
from shared_schemas.access import Scope
from tests.reliability.openapi_hooks import RUBRIC
from tests.reliability.processes import Process, processes
from tests.reliability.questions import RUBRIC as CONTENT
from tests.reliability.questions import Questions, grey_png

NOT_CHECKED = "positive_data_acceptance"
"""That whatever the schemas allow is accepted: what fields mean together, JSON Schema cannot say."""

WAYS = {
    "each bound and each wrong type": ("coverage", True),
    "at random, and along links": ("fuzzing,stateful", True),
    "without a key": ("fuzzing", False),
}
"""Schemathesis' phases, and whether there is a key."""

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def token(tmp_path_factory) -> str:
    return KeyFile(tmp_path_factory.getbasetemp() / "keys.json").add("fuzz", tenant="fuzz", scopes=[Scope.ADMIN])[1]


@pytest.fixture(scope="module")
def service(tmp_path_factory, token) -> Iterator[Process]:
    """With a rubric set, a dataset, a judgement, and a worker: who follows a job waits until it ends."""
    folder, keys = tmp_path_factory.mktemp("service"), tmp_path_factory.getbasetemp() / "keys.json"
    with processes(folder) as started:
        arguments = ("serve", "--port", "0", "--data-dir", str(folder / "data"))
        started.append(Process(folder, *arguments, ARR_API_KEYS=str(keys)))
        with httpx.Client(
            base_url=started[0].url, headers={"Authorization": f"Bearer {token}"}, timeout=60.0
        ) as client:
            furnish(client)
        yield started[0]


def furnish(client: httpx.Client) -> None:
    batch = Questions().batch(1)
    row = {"prompt": "a lamp", "images": ["a.png", "b.png"], "rank": [1, 2]}
    meta = json.dumps({"rubric": RUBRIC, "groups": batch.groups})
    bodies: dict[str, Any] = {
        f"/rubrics/{RUBRIC}/versions": {"json": {"content": CONTENT.model_dump(mode="json")}},
        "/datasets": {"files": [part("pairs", json.dumps(row)), image("a.png", "grey-0"), image("b.png", "grey-55")]},
        "/reward": {"files": [part("meta", meta), *(image(name, name) for name in batch.images)]},
    }
    for path, body in bodies.items():
        answer = client.post(path, **body)
        assert answer.is_success, answer.text


def part(name: str, text: str) -> Any:
    return name, (f"{name}.json", text, "application/json")


def image(name: str, grey: str) -> Any:
    return name, (f"{grey}.png", grey_png(grey), "image/png")


@pytest.mark.parametrize("way", WAYS)
def test_whatever_is_asked_is_answered_as_documented(service, token, tmp_path, scale, measured, way: str) -> None:
    phases, has_key = WAYS[way]
    header = ["--header", f"Authorization: Bearer {token}"] if has_key else []
    for seed in range(scale):
        run = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", f"{service.url}/openapi.json", *header),
                *("--checks", "all", "--exclude-checks", NOT_CHECKED, "--phases", phases),
                *("--seed", str(seed), "--max-examples", "3", "--request-timeout", "60"),
                *("--warnings", "off", "--generation-database", "none", "--continue-on-failure"),
            ],
            env={**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.reliability.openapi_hooks"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        said = run.stdout + run.stderr
        assert run.returncode == 0, said
        generated = re.search(r"(\d+) generated, \1 passed", said)
        assert generated is not None, said
        measured["requests"] = measured.get("requests", 0) + int(generated[1])
    assert "level=ERROR" not in service.log
