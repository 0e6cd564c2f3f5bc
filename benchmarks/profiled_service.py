"""The reward service, watched: `python -m benchmarks.profiled_service FILE --port PORT`, settings as for `arr serve`.

From the first reward on, a timer looks every two milliseconds at what the event loop's thread is doing. That slows
nothing down, unlike a profiler that hears of every call. Images are decoded in other threads, which is in `decode_ms`
of the answers.
"""

import json
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from starlette.types import ASGIApp, Receive, Scope, Send

from arr.listening import open_socket, run_app
from services.reward_api.app import create_app
from services.reward_api.settings import load_settings
from services.telemetry import configure_logging

INTERVAL_SECONDS = 0.002

IDLE = "idle"
"""The event loop waits for something to happen."""

_SITE_PACKAGES = "site-packages"
_OURS = "services"


class Watched:
    """An application that is watched until it ends; uvicorn ends the process by a signal after that."""

    def __init__(self, app: ASGIApp, *, file: Path) -> None:
        self._app = app
        self._file = file
        self._seen: Counter[str] = Counter()
        self._is_watching = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection, or the application's whole life."""
        if scope["type"] == "http" and scope["path"] == "/reward" and not self._is_watching:
            self._is_watching = True
            signal.signal(signal.SIGALRM, self._look)
            signal.setitimer(signal.ITIMER_REAL, INTERVAL_SECONDS, INTERVAL_SECONDS)
        await self._app(scope, receive, send)
        if scope["type"] == "lifespan":
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._file.write_text(json.dumps(self._seen))

    def _look(self, _signal: int, frame: FrameType | None) -> None:
        self._seen[_work_of(frame)] += 1


def _work_of(frame: FrameType | None) -> str:
    """On whose behalf it is done: our innermost module; without any, the innermost package; else the loop itself."""
    paths = [Path(path) for path in _files(frame)]
    if paths and paths[0].name == "selectors.py":
        return IDLE
    for path in paths:
        if _OURS in path.parts:
            return "/".join(path.parts[path.parts.index(_OURS) :])
    for path in paths:
        if _SITE_PACKAGES in path.parts:
            return path.parts[path.parts.index(_SITE_PACKAGES) + 1]
    return "asyncio"


def _files(frame: FrameType | None) -> Iterator[str]:
    """Of the stack, innermost first, without what runs the event loop."""
    while frame is not None and frame.f_code.co_qualname != "Handle._run":
        yield frame.f_code.co_filename
        frame = frame.f_back


def main() -> None:
    """Serve until told to stop; what was seen is written then."""
    file, _, port = sys.argv[1:]
    settings = load_settings(port=int(port))
    configure_logging(settings.log_level)
    app = Watched(create_app(settings), file=Path(file))
    run_app(app, open_socket(settings.host, settings.port), name="reward service")


if __name__ == "__main__":
    main()
