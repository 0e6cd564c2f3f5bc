"""`python -m tests.reliability.watched_service FOLDER`: a service that is sent addresses in the place of images.

Python's audit hook watches it. Prints, as JSON, what files and connections it opened, and how it answered.
"""

import asyncio
import base64
import json
import socket
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from services.reward_api.app import create_app
from services.reward_api.settings import Settings
from tests.reliability.questions import grey_png

ADDRESSES = (
    *("file:///etc/passwd", "/etc/passwd", "../../../../etc/passwd", "/proc/self/environ", "/dev/stdin", "./arr.db"),
    *(
        "http://127.0.0.1:1/a.png",
        "https://example.com/a.png",
        "http://169.254.169.254/latest/meta-data/",
        "//host/a.png",
    ),
    *("ftp://127.0.0.1/a.png", "s3://bucket/a.png", "gs://bucket/a.png", "data:image/png", "unix:/run/docker.sock"),
)
SHELL = (
    "~/.ssh/id_rsa",
    "$(id)",
    "|id",
    "`id`",
    "\\\\host\\share\\a.png",
    "data:image/png;base64,iVBORw0KGgo=",
    "https://u:p@h/?q=1#f",
)

WATCHED = ("open", "os.", "socket.", "subprocess.", "shutil.", "urllib.", "http.", "ftplib.", "glob.", "pathlib.")


class Watch:
    """Counts audit events that have to do with files, connections and processes, while it is on."""

    def __init__(self) -> None:
        self.is_on = False
        self.events: Counter[str] = Counter()
        sys.addaudithook(self._hook)

    def _hook(self, event: str, _arguments: tuple[Any, ...]) -> None:
        if self.is_on and event.startswith(WATCHED):
            self.events[event] += 1


def requests_with(text: str) -> list[dict[str, Any]]:
    """Every place where an image, or what names one, could stand."""
    first, second = grey_png("grey-0"), grey_png("grey-55")
    base64_of = {name: base64.b64encode(data).decode() for name, data in (("a", first), ("b", second))}
    plain = group("a", "b")
    return [
        by_parts(group(text, "b"), {text: first, "b": second}),
        by_parts(group(text, "b"), {"a": first, "b": second}),
        by_parts(plain | {"source": text}, {"a": first, "b": second}),
        by_parts(plain, {"a": text.encode(), "b": second}),
        by_parts(plain | {"prompt": text}, {"a": first, "b": second}),
        by_parts(plain, {"a": first, "b": second}, rubric=text),
        by_parts(plain, {"a": first, "b": second}, file_name=text),
        by_parts(plain, {"a": first, "b": second}, run={"id": text}),
        {"json": {"rubric": "t@none", "groups": [plain], "images": base64_of | {"b": text}}},
        {"json": {"rubric": "t@none", "groups": [plain], "images": base64_of | {"b": {"url": text}}}},
        {
            "json": {
                "rubric": "t@none",
                "groups": [plain],
                "images": base64_of | {"b": base64.b64encode(text.encode()).decode()},
            }
        },
    ]


def group(first: str, second: str) -> dict[str, Any]:
    return {"id": "g", "prompt": "a lamp", "candidates": [first, second]}


def by_parts(
    asked: dict[str, Any], images: dict[str, bytes], *, file_name: str = "a.png", **meta: Any
) -> dict[str, Any]:
    body = json.dumps({"rubric": "t@none", "groups": [asked], **meta})
    parts: list[Any] = [("meta", ("meta.json", body, "application/json"))]
    return {"files": parts + [(name, (file_name, data, "image/png")) for name, data in images.items()]}


async def main(folder: Path) -> None:
    watch, answers = Watch(), Counter[str]()
    app = create_app(Settings(data_dir=folder, canary_seconds=0.0))
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "state": dict(state or {})}, receive, send)

        async with httpx.AsyncClient(transport=httpx.ASGITransport(with_state), base_url="http://localhost") as client:

            async def send_all(texts: tuple[str, ...]) -> None:
                for text in texts:
                    for request in requests_with(text):
                        answer = await client.post("/reward", **request)
                        slug = "" if answer.is_success else f" {answer.json()['type'].rpartition('/')[2]}"
                        answers[f"{answer.status_code}{slug}"] += 1

            await send_all(("harmless", "$harmless"))  # whatever is opened only once is open now
            answers.clear()
            watch.is_on = True
            await send_all(ADDRESSES + SHELL)
            watch.is_on = False
    seen = {"events": sorted(watch.events), "answers": answers, "control": control(watch)}
    sys.stdout.write(json.dumps(seen))


def control(watch: Watch) -> list[str]:
    """What the watch sees when something is opened."""
    watch.events.clear()
    watch.is_on = True
    with suppress(OSError):
        Path("/nonexistent").read_bytes()
    with socket.socket() as connection, suppress(OSError):
        watch.events.pop("socket.__new__", None)
        connection.connect(("127.0.0.1", 1))
    watch.is_on = False
    return sorted(watch.events)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
