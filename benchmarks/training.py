"""Training, measured: `python -m benchmarks.training`. docs/performance.md says what the numbers mean.

Owns the order of the measurements. Without `--model`: one effect after the other on a tiny FLUX, with a judge and the
service as processes of their own. With it: one model with random weights, as large as the real one, on this machine's
accelerator, and nothing is asked or downloaded.
"""

import json
import signal
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from arr.demo.tiny_flux import build_random_tiny_flux
from arr.quiet import quiet_model_libraries
from benchmarks import full_size_report, processes
from benchmarks.full_size import ALL_VARIANTS, EAGER, FullSizePlan, FullSizeRow, run_full_size
from benchmarks.full_size_models import MODELS
from benchmarks.report import machine_in_words
from benchmarks.training_report import TrainingReport, show
from benchmarks.training_rows import Place, Row, Shape, Way, measure_rows
from trainer.errors import TrainerError

_ERR = Console(stderr=True, highlight=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """One run of the rows."""

    judge_ms: float
    """Of a call, however many there are."""
    rows: tuple[tuple[Way, Shape], ...]
    promised: Shape
    """Whose judge answers within half of a micro-batch's sampling; large images, so that answers may take some time."""


def _usual() -> Plan:
    shape = Shape(groups=32, micro_batches=4, steps=6)
    ways = (Way.BATCHED, Way.OVERLAPPED, Way.WINDOW, Way.BFLOAT16, Way.TWO_PROCESSES)
    reference = Shape(groups=32, micro_batches=4, steps=1)
    return Plan(
        judge_ms=50.0,
        rows=((Way.REFERENCE, reference), *((way, shape) for way in ways)),
        promised=Shape(groups=32, micro_batches=8, steps=3, resolution=128),
    )


USUAL = _usual()
QUICK = Plan(
    judge_ms=20.0,
    rows=tuple(
        (way, Shape(groups=4, micro_batches=2, steps=1)) for way in (Way.REFERENCE, Way.BATCHED, Way.OVERLAPPED)
    ),
    promised=Shape(groups=8, micro_batches=8, steps=1, resolution=128),
)


def run(plan: Plan, folder: Path) -> TrainingReport:
    """Everything that `plan` says, with models, logs and data in `folder`."""
    begun, machine = time.monotonic(), machine_in_words()
    model = folder / "tiny-flux"
    build_random_tiny_flux(model)
    # The last one says how long a micro-batch of the promise takes to sample, and an answer besides the judge's calls.
    *rows, timed = _with_judge(plan.judge_ms, [*plan.rows, (Way.OVERLAPPED, plan.promised)], model, folder / "rows")
    judge_ms = _half_of_a_micro_batch_ms(timed, judge_ms=plan.judge_ms)
    [promised] = _with_judge(judge_ms, [(Way.PROMISED, plan.promised)], model, folder / "promised")
    return TrainingReport(
        machine=machine,
        judge=f"tiny FLUX with random weights, one thread; pixel judge, {plan.judge_ms:g} ms a call, both orders",
        rows=tuple(rows),
        promised=promised,
        promised_judge_ms=judge_ms,
        seconds=time.monotonic() - begun,
    )


def _half_of_a_micro_batch_ms(timed: Row, *, judge_ms: float) -> float:
    """How long a call may take for the whole answer to take half as long as sampling; 0 where it cannot."""
    half = (timed.seconds.sample + timed.seconds.decode) / timed.shape.micro_batches / 2
    return max(0.0, 1000 * (half - timed.answer_seconds) + judge_ms)


def _with_judge(judge_ms: float, rows: Sequence[tuple[Way, Shape]], model: Path, folder: Path) -> list[Row]:
    with (
        processes.pixel_judge(folder, {"latency_ms": judge_ms}) as judge,
        processes.service(folder, {"judge_urls": judge.url}) as service,
    ):
        place = Place(folder=folder, model=model, service_url=service.url)
        return measure_rows(rows, place, on_row=_tell)


def _tell(row: Row) -> None:
    _ERR.print(f"{row.way}: {row.steps_per_second:.3f} steps/s", style="dim", markup=False)


def _tell_variant(row: FullSizeRow) -> None:
    _ERR.print(f"{row.variant.name}: {full_size_report.in_words(row)}", style="dim", markup=False)


def _stop(_signal: int, _frame: object) -> None:
    """Leave in order, so that judge and service end too."""
    raise SystemExit(128 + signal.SIGTERM)


def _measure_full_size(plan: FullSizePlan, output: Path | None) -> None:
    report = run_full_size(plan, on_row=_tell_variant)
    full_size_report.show(report)
    if output is not None:
        output.write_text(json.dumps(full_size_report.as_json(report), indent=1) + "\n")


def _measure_rows(plan: Plan, output: Path | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        report = run(plan, Path(folder))
    show(report)
    if output is not None:
        output.write_text(json.dumps(report.as_json(), indent=1) + "\n")


def main(
    model: Annotated[
        str | None, typer.Option(help=f"Measure a model with random weights instead: {', '.join(MODELS)}.")
    ] = None,
    resolution: Annotated[int | None, typer.Option(help="Width and height of an image, pixels.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps; as in the recipe otherwise.")] = None,
    groups: Annotated[int, typer.Option(min=1, help="Pairs per micro-batch.")] = 2,
    repeats: Annotated[int, typer.Option(min=1, help="Measured micro-batches per variant, after one that is not.")] = 3,
    compile_: Annotated[bool, typer.Option("--compile/--no-compile", help="Measure `torch.compile`, too.")] = True,
    arithmetic: Annotated[bool, typer.Option(help="Only count parameters, operations and bytes: no weights.")] = False,
    peak_tflops: Annotated[float | None, typer.Option(help="Of a device that is not in the table.")] = None,
    quick: Annotated[bool, typer.Option(help="Small steps, one each: under a minute, and rougher.")] = False,
    output: Annotated[Path | None, typer.Option(help="Write the numbers here, as JSON.")] = None,
) -> None:
    """Measure training: the reference's loop, batching, overlap and the rest; or one model of full size on a GPU.

    Exit code 0 says that it was measured, not that every target was met.
    """
    signal.signal(signal.SIGTERM, _stop)
    quiet_model_libraries()
    try:
        if model is None:
            _measure_rows(QUICK if quick else USUAL, output)
            return
        if model not in MODELS:
            raise typer.BadParameter(f"there is no {model!r}; there is {', '.join(MODELS)}", param_hint="--model")
        variants = () if arithmetic else ALL_VARIANTS if compile_ else EAGER
        plan = FullSizePlan(
            model=MODELS[model],
            resolution=resolution,
            num_inference_steps=steps,
            groups=groups,
            repeats=repeats,
            variants=variants,
            peak_flops=None if peak_tflops is None else peak_tflops * 1e12,
        )
        _measure_full_size(plan, output)
    except (processes.DidNotStartError, TrainerError) as error:
        _ERR.print(f"error: {error}", style="red", markup=False)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
