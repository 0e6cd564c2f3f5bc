"""What a model of full size does on a device, as tables and as JSON."""

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.full_size import FullSizeReport, FullSizeRow
from benchmarks.model_work import Work
from benchmarks.report import new_table

_GB = 1e9
_TERA = 1e12

_WIDTH = 180
"""Columns that the table needs."""


def in_words(row: FullSizeRow) -> str:
    """One line."""
    if row.timings is None:
        return "does not fit into the device's memory"
    return f"{row.sampled_per_second:.3g} images/s sampled, {row.trained_per_second:.3g} images/s trained"


def as_json(report: FullSizeReport) -> dict[str, Any]:
    """Every number."""
    work = report.work
    return {
        "machine": report.machine,
        "seconds": report.seconds,
        "model": report.plan.model.name,
        "groups": report.plan.groups,
        "recipe": report.config.shaping_values(),
        "work": {**asdict(work), "trained_bytes": work.trained_bytes, "update_flops": work.update_flops},
        "rows": [_row_as_json(row) for row in report.rows],
    }


def show(report: FullSizeReport) -> None:
    """Print everything."""
    console = Console(width=max(Console().width, _WIDTH))
    console.print(report.machine, highlight=False)
    model, rollout = report.config.model, report.config.rollout
    console.print(
        f"{report.plan.model.name}, random weights, {model.dtype}, LoRA r{report.config.lora.rank}, "
        f"{model.resolution}×{model.resolution}, {model.num_inference_steps} steps, micro-batches of "
        f"{report.plan.groups * rollout.candidates} images",
        highlight=False,
    )
    console.print(_table_of_work(report.work))
    if report.rows:
        console.print(_table(report))


def _table_of_work(work: Work) -> Table:
    table = new_table("computed", "")
    for name, value in (
        ("parameters of the transformer, B", f"{work.num_parameters / _GB:.4g}"),
        ("weights with the autoencoder's, GB", f"{work.weight_bytes / _GB:.3g}"),
        ("parameters of the adapter, M", f"{work.num_trained / 1e6:.3g}"),
        ("adapter, gradients and moments, GB", f"{work.trained_bytes / _GB:.3g}"),
        ("kept for the backward pass, GB per image", f"{work.saved_bytes / _GB:.3g}"),
        ("the same with checkpointing, GB per image", f"{work.saved_bytes_checkpointed / _GB:.3g}"),
        ("forward, TFLOP per image and step", f"{work.forward_flops / _TERA:.3g}"),
        ("backward, TFLOP per image and step", f"{work.backward_flops / _TERA:.3g}"),
        ("reference for the KL, TFLOP per image and step", f"{work.reference_flops / _TERA:.3g}"),
    ):
        table.add_row(name, value)
    return table


def _table(report: FullSizeReport) -> Table:
    table = new_table(
        *("variant", "sample s", "decode s", "update s", "images/s sampled", "images/s trained"),
        *("GiB sampling", "GiB update", "use, sampling", "use, update"),
    )
    table.title = "Of one micro-batch; use: model FLOPs of the device's peak"
    for row in report.rows:
        timings = row.timings
        if timings is None:
            table.add_row(row.variant.name, "does not fit", *[""] * 8)
            continue
        table.add_row(
            row.variant.name,
            *(f"{seconds:.3f}" for seconds in (timings.sample, timings.decode, timings.update)),
            f"{row.sampled_per_second:.3g}",
            f"{row.trained_per_second:.3g}",
            f"{timings.sample_peak_gib:.2f}",
            f"{timings.update_peak_gib:.2f}",
            _percent(row.sample_utilisation),
            _percent(row.update_utilisation),
        )
    return table


def _row_as_json(row: FullSizeRow) -> dict[str, Any]:
    return {
        "variant": row.variant.name,
        "timings": None if row.timings is None else asdict(row.timings),
        "num_images": row.num_images,
        "peak_flops": row.peak_flops,
        "images_sampled_per_second": row.sampled_per_second,
        "images_trained_per_second": row.trained_per_second,
        "sample_utilisation": row.sample_utilisation,
        "update_utilisation": row.update_utilisation,
    }


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"
