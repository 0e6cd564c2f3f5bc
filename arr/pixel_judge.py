"""`arr pixel-judge`: the built-in judge as a server of its own, for compose files and tests."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from arr.console import ExitCode, fail

if TYPE_CHECKING:
    from services.judging.pixel_judge import PixelJudgeSettings

_FAULTS = "Faults (shares of the requests, 0 to 1)"


def _option(what: str, **more: Any) -> Any:
    """An option without a default of its own: what is not given is up to the environment."""
    return typer.Option(help=what, show_default=False, **more)


def _rate(what: str) -> Any:
    return _option(what, min=0.0, max=1.0, rich_help_panel=_FAULTS)


def pixel_judge(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")] = 8000,
    model: Annotated[str | None, _option("Id of the model it serves.")] = None,
    position_bias: Annotated[float | None, _option("Nats added in favour of the picture shown first.")] = None,
    noise: Annotated[float | None, _option("Standard deviation of its log-odds, nats.", min=0.0)] = None,
    log_probs: Annotated[bool | None, _option("Whether it gives log-probabilities.")] = None,
    latency_ms: Annotated[float | None, _option("Time that every request takes.", min=0.0)] = None,
    capacity: Annotated[int | None, _option("Most requests worked on at once; 0 = any number.", min=0)] = None,
    overflow: Annotated[str | None, _option("Beyond the capacity: queue or refuse.")] = None,
    error_rate: Annotated[float | None, _rate("Answered with an error.")] = None,
    stall_rate: Annotated[float | None, _rate("Never answered.")] = None,
    malformed_rate: Annotated[float | None, _rate("Answered with rubbish.")] = None,
    drop_rate: Annotated[float | None, _rate("Cut off without an answer.")] = None,
) -> None:
    """Serve the pixel judge: an OpenAI-compatible stand-in that measures pixels and has no taste.

    Use it where a vision-language model would be, to try out or to break what talks to it. Every setting is also an
    environment variable, `ARR_PIXEL_JUDGE_…`; docs/judging.md lists them.

    ```
    arr pixel-judge --position-bias 1.5 --error-rate 0.1 --latency-ms 50 --capacity 8
    arr serve --judge-url http://127.0.0.1:8000/v1
    ```
    """
    from arr.listening import open_socket, run_app
    from services.judging.pixel_judge import create_pixel_judge_app

    settings = _settings(
        model=model,
        position_bias=position_bias,
        noise=noise,
        log_probs=log_probs,
        latency_ms=latency_ms,
        capacity=capacity,
        overflow=overflow,
        error_rate=error_rate,
        stall_rate=stall_rate,
        malformed_rate=malformed_rate,
        drop_rate=drop_rate,
    )
    run_app(create_pixel_judge_app(settings), open_socket(host, port), name="pixel judge")


def _settings(**given: Any) -> "PixelJudgeSettings":
    """What is given, over the environment; ends the command with one line when something is wrong."""
    from pydantic import ValidationError

    from services.judging.pixel_judge import PixelJudgeSettings

    try:
        return PixelJudgeSettings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        variable = "_".join(["ARR_PIXEL_JUDGE", *(str(part).upper() for part in first["loc"])])
        fail(f"{variable}: {first['msg'].removeprefix('Value error, ')}", code=ExitCode.USAGE)
