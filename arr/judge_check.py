"""`arr judge-check`: is the judge there, how is it asked, how far can it be relied on, and which settings follow."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Annotated

import typer

from arr.connection import AsJson
from arr.console import OUT, ExitCode, fail, note

if TYPE_CHECKING:
    from services.judging.checkup import CheckUp, ReplicaReport
    from services.judging.reliability import Reliability
    from services.reward_api.settings import Settings

_OFF_TOPIC = (
    "The judge would rather say something else than a label: serve an instruction-tuned model with its own chat "
    "template, and switch off its thinking mode."
)

_NO_LOG_PROBS = (
    "The judge gives no log-probabilities: it names winners and cannot say how sure it is. There are no margins, no "
    "ties but disagreeing orders, no `win_rate` or `margin` rewards and no pointwise scores. With vLLM there would be."
)

_REPLICA_LABELS = (
    *("state", "model", "version", "revision", "fingerprint"),
    *("answers", "asked with", "priority", "/metrics"),
)

_DIGEST_CHARS = 19
"""Of `sha256:…`, on a terminal."""


def judge_check(
    judge_url: Annotated[
        str | None,
        typer.Option(
            help="OpenAI-compatible judge; several replicas comma-separated (`ARR_JUDGE_URLS`).",
            show_default="the built-in pixel judge",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model to ask for (`ARR_JUDGE_MODEL`).", show_default="the one it serves")
    ] = None,
    pairs: Annotated[int, typer.Option(min=1, max=60, help="Drawn pairs to judge.")] = 12,
    repeats: Annotated[int, typer.Option(min=2, max=100, help="How often each is judged.")] = 4,
    as_json: AsJson = False,
) -> None:
    """Examine the judge: who answers, how it can be asked, its noise and its bias – and the settings that follow.

    Asks the judge itself, as `arr serve` would; no service need run. Simple drawings are judged in both orders,
    several times, with nothing remembered:

    * **noise**: how much a margin changes from one time to the next; margins below three times that are no preference
      (`ARR_TIE_MARGIN`);
    * **position bias**: how much the picture shown first is favoured; knowing its bound, `adaptive` orders ask clear
      pairs once (`ARR_POSITION_BIAS_BOUND`);
    * **label mass**: how much the judge wants to answer the question at all.

    The key of the judge is read from `ARR_JUDGE_API_KEY`. Ends with 1 when the judge, or one of its replicas, cannot be
    asked.

    ```
    arr judge-check
    arr judge-check --judge-url http://gpu-1:8000/v1,http://gpu-2:8000/v1
    arr judge-check --judge-url http://gpu-1:8000/v1 --model Qwen3-VL-8B --pairs 60 --repeats 10 --json
    ```
    """
    settings = _settings(judge_url, model)
    checked = _check(settings, num_pairs=pairs, num_repeats=repeats)
    warnings = list(_warnings(checked, min_label_mass=settings.min_label_mass))
    if as_json:
        typer.echo(json.dumps(_as_json(checked, warnings), indent=2))
    else:
        _print(checked)
    for warning in warnings:
        note(f"warning: {warning}")
    if not as_json:
        _print_settings(checked.reliability)
    away = [f"{replica.name}: {replica.problem}" for replica in checked.replicas if replica.problem is not None]
    if away:
        fail(f"{len(away)} of {len(checked.replicas)} replicas cannot take part: {'; '.join(away)}")


def _settings(judge_url: str | None, model: str | None) -> "Settings":
    from services.reward_api.settings import SettingsError, load_settings

    given = {"judge_urls": judge_url, "judge_model": model}
    try:
        return load_settings(**{name: value for name, value in given.items() if value is not None})
    except SettingsError as error:
        fail(str(error), code=ExitCode.USAGE)


def _check(settings: "Settings", *, num_pairs: int, num_repeats: int) -> "CheckUp":
    import asyncio

    from services.judging.backend import BackendError
    from services.judging.checkup import check_up
    from services.reward_api.composition import build_backends
    from shared_schemas.problems import FailureType

    backends = build_backends(settings)
    try:
        with _progress() as on_judged:
            return asyncio.run(
                check_up(
                    backends,
                    num_pairs=num_pairs,
                    num_repeats=num_repeats,
                    max_window=settings.max_judge_window,
                    on_judged=on_judged,
                )
            )
    except BackendError as error:
        hint = f". {_OFF_TOPIC}" if error.type is FailureType.JUDGE_OFF_TOPIC else ""
        fail(f"the judge cannot be checked ({error.type}): {error.detail}{hint}")
    except KeyboardInterrupt:
        note("stopped; nothing was changed")
        raise typer.Exit(ExitCode.INTERRUPTED) from None


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, where it disturbs nothing that is printed; drawn once there is something to show."""
    from rich.console import Console

    from arr.progress import RunProgress

    with ExitStack() as stack:

        @cache
        def bar() -> RunProgress:
            return stack.enter_context(RunProgress(Console(stderr=True)))

        yield lambda done, total: bar().stage("judging", done, total)


def _warnings(checked: "CheckUp", *, min_label_mass: float) -> Iterator[str]:
    measured = checked.reliability
    if measured.noise is None:
        yield _NO_LOG_PROBS
    elif measured.min_label_mass is not None and measured.min_label_mass < min_label_mass:
        yield (
            f"the label mass was {measured.min_label_mass:.2g} at its smallest; below {min_label_mass:g} "
            f"(ARR_MIN_LABEL_MASS) a pair is `failed: judge-off-topic`. {_OFF_TOPIC}"
        )


def _recommended(measured: "Reliability") -> dict[str, float]:
    """Environment variables of the service; none for a judge without log-probabilities."""
    values = {"ARR_TIE_MARGIN": measured.tie_margin, "ARR_POSITION_BIAS_BOUND": measured.position_bias_bound}
    return {name: value for name, value in values.items() if value is not None}


def _as_json(checked: "CheckUp", warnings: list[str]) -> dict[str, object]:
    return {
        "replicas": [asdict(replica) for replica in checked.replicas],
        "reliability": asdict(checked.reliability),
        "settings": _recommended(checked.reliability),
        "warnings": warnings,
    }


def _print(checked: "CheckUp") -> None:
    from rich.markup import escape
    from rich.table import Table

    replicas = Table("", *(escape(replica.name) for replica in checked.replicas))
    for label, *values in zip(_REPLICA_LABELS, *map(_replica_column, checked.replicas), strict=True):
        replicas.add_row(label, *map(escape, values))
    OUT.print(replicas)
    reliability = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for label, value in _reliability_rows(checked.reliability):
        reliability.add_row(label, value)
    OUT.print(reliability)


def _replica_column(replica: "ReplicaReport") -> tuple[str, ...]:
    fingerprint = "" if replica.fingerprint is None else f"{replica.fingerprint[:_DIGEST_CHARS]}…"
    identity = (replica.model, replica.server_version, replica.revision, fingerprint)
    asking = (replica.capability, replica.asked_with)
    abilities = (_yes_no(replica.takes_priority), _yes_no(replica.has_metrics))
    return (replica.problem or "ready", *(value or "" for value in (*identity, *asking)), *abilities)


def _yes_no(answer: bool | None) -> str:
    return "" if answer is None else "yes" if answer else "no"


def _reliability_rows(measured: "Reliability") -> Iterator[tuple[str, str]]:
    yield "judged", f"{measured.num_pairs} pairs × {measured.num_repeats}, in both orders: {measured.num_calls} calls"
    yield "tokens", f"{measured.prompt_tokens:,} read, {measured.completion_tokens:,} written"
    if measured.median_call_seconds is not None:
        yield "a call takes", f"{measured.median_call_seconds:.3f} s (median, up to {2 * measured.num_pairs} at a time)"
    if measured.noise is not None:
        yield "noise", f"{measured.noise:.4f} nats (standard deviation of a margin)"
    if measured.mean_position_bias is not None:
        nearly_all = f"99 % within ±{measured.largest_position_bias:.3f}"
        yield "position bias", f"{measured.mean_position_bias:+.3f} nats on average, {nearly_all}"
    if measured.mean_label_mass is not None:
        yield "label mass", f"{measured.mean_label_mass:.3f} on average, {measured.min_label_mass:.3f} at least"
    yield "consistent", f"{measured.consistent_share:.0%} of verdicts: both orders name the same winner"
    yield "stable", f"{measured.stable_share:.0%} of pairs: the same outcome every time"


def _print_settings(measured: "Reliability") -> None:
    recommended = _recommended(measured)
    if recommended:
        OUT.print("\nFor the environment of `arr serve`:", markup=False)
    for name, value in recommended.items():
        OUT.print(f"{name}={value:g}", markup=False)
