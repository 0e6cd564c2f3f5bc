"""How long the service keeps its event loop to itself while it is at its largest request."""

import asyncio
import gc
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.pictures import photo_like_pngs
from services.reward_api.app import create_app
from services.reward_api.settings import Settings
from tests.reliability.measures import percentiles

NUM_GROUPS, SIDE, NUM_PICTURES = 1024, 512, 16
PROMISED_SECONDS = 0.1


class Heart:
    """Beats on the event loop of an application; `seconds` are those its thread computed between two beats.

    Not those that went by: on a machine that is busy with other things, these say little.
    """

    def __init__(self, app: Any) -> None:
        self.seconds: list[float] = []
        self._app = app
        self._beating: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            self._beating = asyncio.create_task(self._beat())
        try:
            await self._app(scope, receive, send)
        finally:
            if scope["type"] == "lifespan" and self._beating is not None:
                self._beating.cancel()
                with suppress(asyncio.CancelledError):
                    await self._beating

    async def _beat(self) -> None:
        last = time.thread_time()
        while True:
            await asyncio.sleep(0.001)
            now = time.thread_time()
            self.seconds.append(now - last)
            last = now


@pytest.fixture
def instant_judge() -> Iterator[str]:
    """URL of a judge that is never what takes the time."""
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.reliability.instant_judge"], cwd=root, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        yield process.stderr.readline().split()[-1]
        process.kill()


def request_body() -> bytes:
    """1024 groups of two of 16 pictures, each group with a prompt of its own."""
    names = [f"picture-{number}" for number in range(NUM_PICTURES)]
    groups = [
        {"id": f"g{number}", "prompt": f"a harbour, no. {number}", "candidates": [first, second]}
        for number in range(NUM_GROUPS)
        for first, second in [(names[number % NUM_PICTURES], names[(number + 1 + number // 16 % 15) % NUM_PICTURES])]
    ]
    meta = json.dumps({"rubric": "light@none", "groups": groups, "deadline_seconds": 3.0}).encode()
    parts = {"meta": meta, **dict(zip(names, photo_like_pngs(NUM_PICTURES, side=SIDE), strict=True))}
    head = b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    return b"".join(head % (name.encode(), data) for name, data in parts.items()) + b"--x--\r\n"


@pytest.fixture
def frozen_imports() -> Iterator[None]:
    """As `arr serve` does it: what is imported is not looked through by the garbage collector."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


async def test_the_largest_request_leaves_the_event_loop_to_others(
    serve, instant_judge, frozen_imports, tmp_path, scale, measured
) -> None:
    heart = Heart(create_app(Settings(data_dir=tmp_path, judge_urls=(f"{instant_judge}/v1",), canary_seconds=0.0)))
    body, url = request_body(), serve(heart)
    seconds_to_live: list[float] = []

    async def probe(client: httpx.AsyncClient) -> None:
        while True:
            begun = time.monotonic()
            assert (await client.get("/livez")).is_success
            seconds_to_live.append(time.monotonic() - begun)
            await asyncio.sleep(0.02)

    async with httpx.AsyncClient(base_url=url, timeout=60.0) as client:
        probing = asyncio.create_task(probe(client))
        heart.seconds.clear()
        answer = await client.post("/reward", content=body, headers={"Content-Type": "multipart/form-data; boundary=x"})
        probing.cancel()
        await asyncio.gather(probing, return_exceptions=True)
    longest = sorted(heart.seconds)[-5:]
    measured["longest without a beat"] = ", ".join(f"{1000 * each:.0f} ms" for each in reversed(longest))
    measured["beyond the promise"] = f"{sum(each > PROMISED_SECONDS for each in heart.seconds)} of {len(heart.seconds)}"
    measured["a liveness probe meanwhile"] = percentiles(seconds_to_live)
    assert answer.status_code == 200
    assert len(answer.json()["results"]) == NUM_GROUPS
    assert longest[-1] < 1.5  # docs/reliability.md says how far it is from what is promised
