"""`arr serve`: the reward service as a process."""

from pathlib import Path
from typing import Annotated

import typer

from arr.console import ExitCode, fail


def serve(
    host: Annotated[
        str | None,
        typer.Option(
            help="Address to listen on (`ARR_HOST`); any but loopback needs API keys.", show_default="127.0.0.1"
        ),
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on (`ARR_PORT`); 0 picks a free one.", show_default="8080")
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Where everything is kept (`ARR_DATA_DIR`).", show_default=".arr"),
    ] = None,
    judge_url: Annotated[
        str | None,
        typer.Option(help="OpenAI-compatible judge (`ARR_JUDGE_URLS`).", show_default="the built-in pixel judge"),
    ] = None,
) -> None:
    """Serve `/reward` and `/rubrics` over HTTP.

    Without a judge of your own, the built-in pixel judge answers: it measures pixels and has no taste. Without API keys
    (`arr keys add`, `ARR_API_KEYS`) this machine alone is served. Options win over the environment; docs/api.md lists
    all settings. API documentation is served at `/docs`. Ctrl-C ends the service after the last answers; SIGTERM takes
    requests for `ARR_DRAIN_SECONDS` more, with `/readyz` at 503.

    ```
    arr serve
    arr serve --port 9000 --data-dir /data/arr
    arr serve --judge-url http://gpu-1:8000/v1
    ARR_API_KEYS=.arr/keys.json arr serve --host 0.0.0.0
    ```
    """
    import asyncio
    from datetime import timedelta

    from arr.listening import open_socket, run_app
    from arr.preflight import ensure_database, ensure_writable
    from arr.worker import KINDS, beside_the_service, load_kinds
    from services.reward_api.app import create_app
    from services.reward_api.settings import SettingsError, WorkerPlace, load_settings
    from services.telemetry import configure_logging

    given = {"host": host, "port": port, "data_dir": data_dir, "judge_urls": judge_url}
    try:
        settings = load_settings(**{name: value for name, value in given.items() if value is not None})
    except SettingsError as error:
        fail(str(error), code=ExitCode.USAGE)
    ensure_writable(settings.data_dir)
    configure_logging(settings.log_level)
    listener = open_socket(settings.host, settings.port)
    ensure_database(settings.resolved_database_url)
    stopping = asyncio.Event()
    companion = beside_the_service(load_kinds(KINDS)) if settings.worker is WorkerPlace.INLINE else None
    app = create_app(settings, companion=companion, stopping=stopping)
    drain = timedelta(seconds=settings.drain_seconds)
    run_app(app, listener, name="reward service", on_stop=stopping.set, drain=drain)
