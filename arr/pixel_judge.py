"""`arr pixel-judge`: the built-in judge as a server of its own, for compose files and tests."""

from typing import Annotated

import typer

from arr.console import ExitCode, fail


def pixel_judge(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")] = 8000,
    position_bias: Annotated[
        float | None, typer.Option(help="Nats added in favour of the picture shown first.", show_default=False)
    ] = None,
    noise: Annotated[
        float | None, typer.Option(min=0.0, help="Standard deviation of its log-odds, nats.", show_default=False)
    ] = None,
    latency_ms: Annotated[
        float | None, typer.Option(min=0.0, help="Wait before every answer.", show_default=False)
    ] = None,
    error_rate: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Share of requests that fail.", show_default=False)
    ] = None,
) -> None:
    """Serve the pixel judge: an OpenAI-compatible stand-in that measures pixels and has no taste.

    Use it where a vision-language model would be, to try out or to break what talks to it. Every setting is also an
    environment variable, `ARR_PIXEL_JUDGE_…`; docs/judging.md lists them.

    ```
    arr pixel-judge --position-bias 1.5 --error-rate 0.1
    arr serve --judge-url http://127.0.0.1:8000/v1
    ```
    """
    from pydantic import ValidationError

    from arr.listening import open_socket, run_app
    from services.judging.pixel_judge import PixelJudgeSettings, create_pixel_judge_app

    given = {"position_bias": position_bias, "noise": noise, "latency_ms": latency_ms, "error_rate": error_rate}
    try:
        settings = PixelJudgeSettings.model_validate({key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        fail(f"ARR_PIXEL_JUDGE_{str(first['loc'][0]).upper()}: {first['msg']}", code=ExitCode.USAGE)
    run_app(create_pixel_judge_app(settings), open_socket(host, port), name="pixel judge")
