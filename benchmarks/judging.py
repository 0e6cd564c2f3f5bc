"""Judging, measured: `python -m benchmarks.judging`. docs/benchmarks.md says what the numbers mean.

Owns the order of the measurements; each is in a file of its own. Everything runs on this machine: a judge and the
service as processes of their own, and the clients in this one.
"""

import asyncio
import json
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import processes
from benchmarks.closed_loop import Window
from benchmarks.direct import DirectJudge
from benchmarks.fairness import measure_fairness
from benchmarks.overload import Load, Overload, measure_overload, until_as_fast_as
from benchmarks.pictures import photo_like_pngs
from benchmarks.plans import QUICK, SERVICE, USUAL, VLLM_SERVICE, JudgeShape, Plan
from benchmarks.processes import Server
from benchmarks.profile_report import read_profile
from benchmarks.questions import Supply
from benchmarks.repetition import measure_repetition
from benchmarks.report import JudgeReport, Report, machine_in_words, show
from benchmarks.rows import Bench, Row, Way, all_rows
from benchmarks.through_service import trainers

_PROFILED_CLIENTS = 8

_ERR = Console(stderr=True, highlight=False)


async def run(plan: Plan, folder: Path, *, vllm_url: str | None = None, start_vllm: bool = False) -> Report:
    """Everything that `plan` says, with logs and data in `folder`; on vLLM too, where there is one."""
    begun, machine = time.monotonic(), machine_in_words()
    judges = [await _on_pixel_judge(plan, folder / "rows"), await _under_pressure(plan, folder / "pressure")]
    if vllm_url is not None:
        judges.append(await _on_vllm(plan, folder / "vllm", Server("judge", vllm_url, None)))
    elif start_vllm:
        _say("starting vLLM: a minute")
        with processes.vllm(folder / "vllm") as judge:
            judges.append(await _on_vllm(plan, folder / "vllm", judge))
    return Report(machine=machine, judges=judges, seconds=time.monotonic() - begun)


async def run_profiled(plan: Plan, folder: Path) -> Report:
    """One row with the service under a profiler."""
    begun, machine, file = time.monotonic(), machine_in_words(), folder / "service.prof"
    with processes.pixel_judge(folder, plan.rows_judge.as_settings()) as judge:
        async with _bench(plan.side, plan, folder, judge, window=plan.rows_window, profile=file) as bench:
            await bench.row(Way.SERVICE, _PROFILED_CLIENTS)
    found = JudgeReport(
        judge=_in_words(plan.rows_judge),
        pictures=_pictures(plan.side),
        profile=read_profile(file, num_pairs=bench.supply.num_drawn),
    )
    return Report(machine=machine, judges=[found], seconds=time.monotonic() - begun)


async def _on_pixel_judge(plan: Plan, folder: Path) -> JudgeReport:
    """Every way of asking, and the same batch again."""
    with processes.pixel_judge(folder, plan.rows_judge.as_settings()) as judge:
        async with _bench(plan.side, plan, folder, judge, window=plan.rows_window) as bench:
            return JudgeReport(
                judge=_in_words(plan.rows_judge),
                pictures=_pictures(plan.side),
                rows=await all_rows(bench, plan.counts, on_row=_tell),
                repetition=await measure_repetition(bench.trainers[0], bench.supply.pairs(plan.repeated_pairs)),
            )


async def _under_pressure(plan: Plan, folder: Path) -> JudgeReport:
    """More clients than the judge can serve, and more requests than anybody can."""
    with processes.pixel_judge(folder, plan.small_judge.as_settings()) as judge:
        async with _bench(plan.small_side, plan, folder, judge, window=plan.fairness_window) as bench:
            fairness = []
            for batch_sizes in ((1,), plan.batch_sizes):
                _say(f"fairness, {batch_sizes} pairs per request")
                fairness.append(
                    await measure_fairness(bench.trainers, bench.supply, bench.window, batch_sizes=batch_sizes)
                )
            return JudgeReport(
                judge=_in_words(plan.small_judge),
                pictures=_pictures(plan.small_side),
                fairness=fairness,
                overload=await _overload(replace(bench, window=plan.rows_window), plan),
            )


async def _overload(bench: Bench, plan: Plan) -> Overload:
    """Find out what it can do and how fast it is, then send ten times as much."""
    _say("overload")
    idle = await bench.row(Way.SERVICE, 1)
    busy = await bench.row(Way.SERVICE, plan.num_runs)
    assert idle.latency is not None, "somebody was answered"
    load = Load(
        capacity=busy.rate,
        factor=plan.overload_factor,
        batch_size=plan.overload_batch,
        deadline=plan.overload_deadline,
        lasts=plan.overload_lasts,
    )
    as_usual = 2 * idle.latency.p50 / 1000
    return await measure_overload(
        bench.service.url,
        bench.supply,
        load,
        recover=lambda: until_as_fast_as(as_usual, bench.trainers[0], bench.supply),
    )


async def _on_vllm(plan: Plan, folder: Path, judge: Server) -> JudgeReport:
    """Every way of asking a real server."""
    async with _bench(plan.vllm_side, plan, folder, judge, window=plan.vllm_window, settings=VLLM_SERVICE) as bench:
        rows = await all_rows(bench, plan.counts, on_row=_tell)
    return JudgeReport(judge=f"vLLM, model {bench.direct.model}", pictures=_pictures(plan.vllm_side), rows=rows)


@asynccontextmanager
async def _bench(
    side: int,
    plan: Plan,
    folder: Path,
    judge: Server,
    *,
    window: Window,
    settings: dict[str, object] = SERVICE,
    profile: Path | None = None,
) -> AsyncIterator[Bench]:
    """A service in front of `judge`, its clients, and pictures to ask about."""
    supply = Supply(photo_like_pngs(plan.num_pictures, side=side))
    with processes.service(folder, {"judge_urls": judge.url, **settings}, profile=profile) as service:
        async with await DirectJudge.connect(judge.url) as direct, trainers(service.url, plan.num_runs) as clients:
            yield Bench(direct=direct, trainers=clients, supply=supply, judge=judge, service=service, window=window)


def _in_words(judge: JudgeShape) -> str:
    return (
        f"pixel judge, {judge.latency_ms:g} ms a call and {judge.token_ms:g} ms a further token, "
        f"{judge.capacity} calls at a time"
    )


def _pictures(side: int) -> str:
    return f"pictures of {side}×{side} pixels"


def _say(text: str) -> None:
    _ERR.print(text, style="dim")


def _tell(row: Row) -> None:
    _say(f"{row.way}, {row.num_clients} at a time: {row.rate:.1f} pairs/s")


def _stop(_signal: int, _frame: object) -> None:
    """Leave in order, so that the servers that were started end too."""
    raise SystemExit(128 + signal.SIGTERM)


def main(
    quick: Annotated[bool, typer.Option(help="Small pictures and short windows: under a minute, and rougher.")] = False,
    vllm: Annotated[
        str, typer.Option(help="URL of a vLLM to measure too, `auto` = the one in .vllm, or `no`.")
    ] = "auto",
    vllm_side: Annotated[int, typer.Option(min=32, help="Width and height of the pictures that vLLM judges.")] = 128,
    profile: Annotated[bool, typer.Option(help="Only tell where the service's CPU time goes.")] = False,
    output: Annotated[Path | None, typer.Option(help="Write the numbers here, as JSON.")] = None,
) -> None:
    """Measure judging: the reference implementation's way, a plain gather, and this service, side by side.

    Exit code 0 says that it was measured, not that every target was met.
    """
    signal.signal(signal.SIGTERM, _stop)
    plan = replace(QUICK if quick else USUAL, vllm_side=vllm_side)
    url = None if vllm in {"auto", "no"} else vllm
    start_vllm = vllm == "auto" and not quick and processes.is_vllm_built()
    with tempfile.TemporaryDirectory() as folder:
        measured = (
            run_profiled(plan, Path(folder))
            if profile
            else run(plan, Path(folder), vllm_url=url, start_vllm=start_vllm)
        )
        try:
            report = asyncio.run(measured)
        except processes.DidNotStartError as error:
            _ERR.print(f"error: {error}", style="red", markup=False)
            raise typer.Exit(1) from None
    show(report)
    if output is not None:
        output.write_text(json.dumps(report.as_json(), indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
