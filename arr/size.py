"""`arr size`: how many judges, service processes and megabytes a second a training cluster needs."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from arr.connection import AsJson
from arr.console import OUT, ExitCode, fail, note

if TYPE_CHECKING:
    from arr.sizing.needs import JudgeSpeed, Judging, Needs, Training, Wanted

ASSUMED_TOKENS_PER_SECOND = 20_000.0
"""Of one GPU that serves an 8B model: 2 floating-point operations per parameter and token are 1.6·10¹⁰, so an H100
(989·10¹² a second in 16 bits) would do 62,000 tokens at its peak; a third of that. Nobody measured it."""

_COUNTS = {"gpus_per_run", "groups", "candidates", "micro_batches", "criteria"}
_POSITIVE = {"sample_seconds", "images_per_second", "pairs_per_second", "tokens_per_second"}
_NOT_NEGATIVE = {"update_seconds", "idle_call_seconds", "rubric_tokens", "prompt_tokens"}
_SHARES = {"asked_twice": 1.0, "cache_hits": 0.99, "wait_share": 0.99, "headroom": 0.99}
"""And the most that each may be."""

_SIZE = re.compile(r"(\d{1,5})[x×](\d{1,5})")

_NOT_MEASURED = (
    "the judge's speed is assumed ({:,.0f} tokens/s); measure yours for --pairs-per-second: docs/deployment.md"
)


PairsPerSecond = Annotated[
    float | None,
    typer.Option(
        help="Pairs a second, in both orders, that one replica was measured to judge with these images.",
        show_default=False,
    ),
]
TokensPerSecond = Annotated[
    float | None,
    typer.Option(
        help="Tokens a second that one replica reads.", show_default=f"{ASSUMED_TOKENS_PER_SECOND:,.0f}, assumed"
    ),
]


def size(
    context: typer.Context,
    gpus: Annotated[
        str, typer.Option(help="GPUs that train; several numbers with commas between make a table of replicas.")
    ],
    sample_seconds: Annotated[
        float | None, typer.Option(help="Seconds in which one GPU samples one image.", show_default=False)
    ] = None,
    images_per_second: Annotated[
        float | None, typer.Option(help="The same the other way round.", show_default=False)
    ] = None,
    update_seconds: Annotated[float, typer.Option(help="Of a step besides sampling; 0 asks most of the judge.")] = 0.0,
    gpus_per_run: Annotated[int, typer.Option(help="GPUs of one training run.")] = 8,
    groups: Annotated[int, typer.Option(help="Prompts per step of a run (`rollout.prompts_per_step`).")] = 32,
    candidates: Annotated[int, typer.Option(help="Images per prompt (`rollout.candidates`).")] = 2,
    micro_batches: Annotated[int, typer.Option(help="`rollout.micro_batches`.")] = 4,
    mode: Annotated[Literal["pairwise", "pointwise"], typer.Option(help="How the rubric set judges.")] = "pairwise",
    criteria: Annotated[int, typer.Option(help="Criteria of the rubric set, for pointwise.")] = 5,
    task: Annotated[Literal["t2i", "edit"], typer.Option(help="Edits show the source image, too.")] = "t2i",
    orders: Annotated[
        Literal["both", "adaptive", "single"], typer.Option(help="In which orders a pair is asked.")
    ] = "both",
    asked_twice: Annotated[
        float, typer.Option(help="Share of the pairs that `adaptive` asks in both orders; its judge decides.")
    ] = 0.7,
    cache_hits: Annotated[float, typer.Option(help="Share of the answers that are remembered; new images: 0.")] = 0.0,
    image: Annotated[str, typer.Option(metavar="WxH", help="Size of the images, pixels.")] = "512x512",
    rubric_tokens: Annotated[int, typer.Option(help="Tokens of the rubric set's criteria together.")] = 500,
    prompt_tokens: Annotated[int, typer.Option(help="Tokens of a prompt, or an edit instruction.")] = 60,
    pairs_per_second: PairsPerSecond = None,
    tokens_per_second: TokensPerSecond = None,
    idle_call_seconds: Annotated[
        float, typer.Option(help="Of a call on an idle replica, besides reading: the way, the server's step, decoding.")
    ] = 0.1,
    wait_share: Annotated[float, typer.Option(help="Most of a step that GPUs may wait for the judge.")] = 0.05,
    headroom: Annotated[float, typer.Option(help="Share of the judge's capacity that is to be left over.")] = 0.3,
    explain: Annotated[bool, typer.Option("--explain", help="Say how each number comes about.")] = False,
    as_json: AsJson = False,
) -> None:
    """Work out the judge replicas that a training cluster needs, and what stands around them.

    Arithmetic only: nothing is asked, nothing measured. The fewest replicas are named that leave the headroom free and
    keep the waiting within its share. Tokens are those of Qwen3-VL; what its server has in its prefix cache costs
    nothing. `--explain` and `--json` say how each number comes about; the guide is docs/deployment.md, "Sizing".

    ```
    arr size --gpus 64 --sample-seconds 1 --update-seconds 10
    arr size --gpus 64 --sample-seconds 1 --pairs-per-second 12.5 --explain
    arr size --gpus 8,64,256 --sample-seconds 1 --update-seconds 10
    ```
    """
    from arr.sizing.needs import Training, Wanted

    _check_numbers(context.params)
    judging = _judging(
        task=task,
        mode=mode,
        image=image,
        rubric_tokens=rubric_tokens,
        prompt_tokens=prompt_tokens,
        criteria=criteria,
        orders=orders,
        asked_twice=asked_twice,
        cache_hits=cache_hits,
    )
    _check_group(mode, candidates)
    speed = _speed(judging, pairs_per_second, tokens_per_second, idle_call_seconds)
    seconds = _seconds_of_an_image(sample_seconds, images_per_second)
    trainings = [
        Training(
            num_gpus=number,
            gpus_per_run=min(gpus_per_run, number),
            sample_seconds=seconds,
            update_seconds=update_seconds,
            groups=groups,
            candidates=candidates,
            micro_batches=micro_batches,
        )
        for number in _numbers(gpus)
    ]
    wanted = Wanted(wait_share=wait_share, headroom=headroom)
    found = [_needs(training, judging, speed, wanted) for training in trainings]
    if as_json:
        typer.echo(json.dumps([_as_json(needs) for needs in found], indent=2))
    elif len(found) > 1:
        _print_table(found)
    else:
        _print(found[0], explain=explain)
    if not speed.is_measured:
        note(f"note: {_NOT_MEASURED.format(speed.tokens_per_second)}")


def _check_numbers(given: Mapping[str, Any]) -> None:
    """In words, and not as click would: not a number and infinity are refused too."""
    for name, value in given.items():
        option = f"--{name.replace('_', '-')}"
        if name in _COUNTS and value < 1:
            fail(f"{option} must be at least 1, got {value}", code=ExitCode.USAGE)
        if name in _POSITIVE and value is not None and not 0.0 < value < math.inf:
            fail(f"{option} must be above 0, got {value:g}", code=ExitCode.USAGE)
        if name in _NOT_NEGATIVE and not 0.0 <= value < math.inf:
            fail(f"{option} must not be negative, got {value:g}", code=ExitCode.USAGE)
        if name in _SHARES and not 0.0 <= value <= _SHARES[name]:
            fail(f"{option} is a share from 0 to {_SHARES[name]:g}, got {value:g}", code=ExitCode.USAGE)


def _check_group(mode: str, candidates: int) -> None:
    from shared_schemas.reward import MAX_PAIRWISE_CANDIDATES

    if mode == "pairwise" and not 2 <= candidates <= MAX_PAIRWISE_CANDIDATES:
        fail(
            f"2 to {MAX_PAIRWISE_CANDIDATES} candidates are compared pairwise, not {candidates}; "
            "--mode pointwise scores any number",
            code=ExitCode.USAGE,
        )


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        fail(f"--gpus is a number, or several with commas between; got {text!r}", code=ExitCode.USAGE)
    if min(numbers) < 1:
        fail(f"--gpus must be at least 1, got {min(numbers)}", code=ExitCode.USAGE)
    return numbers


def _seconds_of_an_image(sample_seconds: float | None, images_per_second: float | None) -> float:
    given = [seconds for seconds in (sample_seconds, images_per_second and 1.0 / images_per_second) if seconds]
    if len(given) != 1:
        fail("give --sample-seconds or --images-per-second, one of them", code=ExitCode.USAGE)
    return given[0]


def _judging(
    *,
    task: str,
    mode: str,
    image: str,
    rubric_tokens: int,
    prompt_tokens: int,
    criteria: int,
    orders: str,
    asked_twice: float,
    cache_hits: float,
) -> "Judging":
    from arr.sizing.needs import Judging
    from arr.sizing.tokens import Picture, Question
    from services.reward_api.settings import Settings
    from shared_schemas.reward import Orders
    from shared_schemas.rubrics import Mode, Task

    match = _SIZE.fullmatch(image)
    if match is None or min(int(match[1]), int(match[2])) < 1:
        fail(f"--image is width x height in pixels, such as 512x512; got {image!r}", code=ExitCode.USAGE)
    fields = Settings.model_fields
    picture = Picture(width=int(match[1]), height=int(match[2]))
    longest = int(fields["max_image_side"].default)
    if max(picture.width, picture.height) > longest or picture.pixels > int(fields["max_image_pixels"].default):
        fail(f"--image {image} is larger than what the service takes (docs/judging.md)", code=ExitCode.USAGE)
    question = Question(
        task=Task(task),
        mode=Mode(mode),
        picture=picture.as_judged(int(fields["judge_max_pixels"].default)),
        rubric_tokens=rubric_tokens,
        prompt_tokens=prompt_tokens,
        num_criteria=criteria,
    )
    return Judging(question=question, orders=Orders(orders), asked_twice=asked_twice, cache_hits=cache_hits)


def _speed(
    judging: "Judging", pairs_per_second: float | None, tokens_per_second: float | None, idle_call_seconds: float
) -> "JudgeSpeed":
    from arr.sizing.needs import JudgeSpeed
    from arr.sizing.tokens import call_tokens
    from shared_schemas.rubrics import Mode

    if pairs_per_second is not None:
        if tokens_per_second is not None:
            fail("give --pairs-per-second or --tokens-per-second, not both", code=ExitCode.USAGE)
        if judging.question.mode is Mode.POINTWISE:
            fail("--pairs-per-second is for pairwise judging; give --tokens-per-second", code=ExitCode.USAGE)
        tokens_per_second = 2 * pairs_per_second * call_tokens(judging.question).fresh
    is_measured = tokens_per_second is not None
    rate = ASSUMED_TOKENS_PER_SECOND if tokens_per_second is None else tokens_per_second
    return JudgeSpeed(tokens_per_second=rate, idle_call_seconds=idle_call_seconds, is_measured=is_measured)


def _needs(training: "Training", judging: "Judging", speed: "JudgeSpeed", wanted: "Wanted") -> "Needs":
    from arr.sizing.needs import CannotBeMetError, needs_of

    try:
        return needs_of(training, judging, speed, wanted=wanted)
    except CannotBeMetError as error:
        fail(str(error))


def _as_json(needs: "Needs") -> dict[str, object]:
    from dataclasses import asdict

    from arr.sizing.needs import lines_of

    return {"gpus": needs.training.num_gpus, "lines": [asdict(line) for line in lines_of(needs)]}


def _print(needs: "Needs", *, explain: bool) -> None:
    from rich.table import Table

    from arr.sizing.needs import lines_of

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for line in lines_of(needs):
        table.add_row(line.name, number_in_words(line.value), line.unit, *([line.formula] if explain else []))
    OUT.print(table, markup=False)


def _print_table(found: "Sequence[Needs]") -> None:
    """In Markdown, to be copied into a document."""
    judged = "pairs/s" if "pairs" in _values(found[0]) else "images/s"
    names = ("trainer GPUs", "runs", judged, "judge calls/s", "judge replicas", "waiting, %")
    around = ("service processes", "MB/s to the service", "MB/s to the judges")
    typer.echo(f"| {' | '.join((*names, *around))} |")
    typer.echo(f"|{'---|' * len((*names, *around))}")
    for needs in found:
        typer.echo(f"| {' | '.join(_row(needs))} |")


def _values(needs: "Needs") -> dict[str, float]:
    from arr.sizing.needs import lines_of

    return {line.name: line.value for line in lines_of(needs)}


def _row(needs: "Needs") -> list[str]:
    values = _values(needs)
    judged = values.get("pairs", values.get("scored images", 0.0))
    chosen = [judged, values["judge calls"], values["judge replicas"], values["waiting, share"]]
    chosen += [values["service processes"], values["trainers → service"], values["service → judges"]]
    counts = [needs.training.num_gpus, math.ceil(needs.training.num_runs)]
    return [number_in_words(value) for value in (*counts, *chosen)]


def number_in_words(value: float) -> str:
    """Three digits, whole numbers as they are."""
    if value == round(value) or abs(value) >= 100:
        return f"{round(value):,}"
    return f"{value:.3g}"
