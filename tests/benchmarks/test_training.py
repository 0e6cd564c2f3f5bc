"""The benchmark of training runs and its numbers add up; how fast anything is stays out of it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import full_size_report, training, training_report
from benchmarks.full_size import (
    EAGER,
    FullSizePlan,
    FullSizeReport,
    FullSizeRow,
    Timings,
    Variant,
    run_full_size,
)
from benchmarks.full_size_models import MODELS
from benchmarks.memory import Memory
from benchmarks.model_work import Work, count_work, peak_flops_of
from benchmarks.step_seconds import Measured, StepSeconds, middle
from benchmarks.training import Plan
from benchmarks.training_rows import Row, Shape, Way

SMALL = Shape(groups=2, micro_batches=2, steps=1)


def seconds(sample: float, judge_wait: float = 1.0) -> StepSeconds:
    return StepSeconds(sample=sample, decode=1.0, judge_wait=judge_wait, update=4.0)


def row(way: Way = Way.OVERLAPPED, *, judge_wait: float = 1.0) -> Row:
    steps = (seconds(2.0, judge_wait), seconds(4.0, judge_wait), seconds(6.0, judge_wait))
    return Row(
        way=way,
        shape=Shape(groups=10, micro_batches=2, steps=3),
        measured=Measured(steps=steps, answers=(0.5, 1.5)),
        memory=Memory(before=100.0, peak=200.0),
    )


@pytest.mark.timeout(600)  # four processes that import everything, on a machine that may be busy
def test_every_way_trains_and_its_seconds_and_answers_add_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ways = (Way.REFERENCE, Way.BATCHED)
    plan = Plan(judge_ms=5.0, rows=tuple((way, SMALL) for way in ways), promised=SMALL)
    report = training.run(plan, tmp_path)
    assert [each.way for each in report.rows] == list(ways)
    for each in (*report.rows, report.promised):
        [step] = each.measured.steps
        assert min(step.sample, step.decode, step.update) > 0
        assert step.judge_wait >= 0
        assert each.memory.peak >= each.memory.before > 0
    requests = {each.way: len(each.measured.answers) for each in (*report.rows, report.promised)}
    assert requests == {Way.REFERENCE: 2, Way.BATCHED: 2, Way.PROMISED: 2}
    assert min(report.rows[0].measured.answers) > 0.005  # the judge's own time

    written = json.loads(json.dumps(report.as_json()))
    assert [entry["way"] for entry in written["rows"]] == [*ways, Way.PROMISED]
    assert written["rows"][0]["speed_up"] == 1.0
    training_report.show(report)
    printed = capsys.readouterr().out
    assert all(way in printed for way in (*ways, Way.PROMISED))
    assert "≤ 5 % of the step" in printed


def test_a_row_is_judged_by_all_of_its_steps_and_shown_by_their_medians() -> None:
    measured = row()
    assert middle(measured.measured.steps) == seconds(4.0)
    assert measured.steps_per_second == 3 / 30  # steps of 8, 10 and 12 s
    assert measured.pairs_per_second == 1.0
    assert measured.wait_fraction == 3 / 30
    assert measured.predicted_wait_fraction == 1.0 / (4.0 + 1.0 + 4.0 + 1.0)  # the mean answer takes a second
    assert row(Way.BATCHED).predicted_wait_fraction is None


def test_the_first_step_and_its_requests_are_left_out() -> None:
    measured = Measured(steps=(seconds(9.0), seconds(1.0)), answers=(7.0, 8.0, 0.1, 0.2))
    assert measured.without_first() == Measured(steps=(seconds(1.0),), answers=(0.1, 0.2))


@pytest.mark.parametrize(("judge_wait", "is_met"), [(0.4, True), (1.0, False)])
def test_the_promise_is_about_the_share_of_all_steps(judge_wait: float, is_met: bool) -> None:
    report = training_report.TrainingReport(
        machine="here",
        judge="one",
        rows=(row(Way.REFERENCE),),
        promised=row(Way.PROMISED, judge_wait=judge_wait),
        promised_judge_ms=10.0,
        seconds=1.0,
    )
    [target] = report.targets
    assert target.is_met is is_met
    assert target.measured == pytest.approx(100 * 3 * judge_wait / (27 + 3 * judge_wait))


def test_the_judge_of_the_promise_leaves_room_for_the_rest_of_an_answer() -> None:
    # Sampling and decoding take 4 + 1 s in 2 micro-batches: half of one is 1.25 s. An answer takes 1 s: 0.8 + 0.2.
    assert training._half_of_a_micro_batch_ms(row(), judge_ms=200.0) == pytest.approx(450.0)
    assert training._half_of_a_micro_batch_ms(replace(row(), shape=replace(SMALL, micro_batches=20)), judge_ms=200) == 0


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch.compile looks at all attributes
@pytest.mark.parametrize("name", ["tiny", "tiny-edit"])
def test_a_model_with_random_weights_is_sampled_and_trained_in_every_variant(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    compiled = Variant(is_checkpointed=False, is_compiled=True)
    plan = FullSizePlan(
        model=MODELS[name],
        resolution=None,
        num_inference_steps=2,
        groups=1,
        repeats=1,
        variants=(*EAGER, compiled),
        peak_flops=1e12,
        compile_backend="eager",  # traced and guarded as for any other, without a C++ compiler
    )
    rows: list[FullSizeRow] = []
    report = run_full_size(plan, on_row=rows.append)
    assert rows == list(report.rows)
    assert [each.variant for each in rows] == [*EAGER, compiled]
    for each in rows:
        assert each.timings is not None
        assert min(each.timings.sample, each.timings.decode, each.timings.update) > 0
        assert each.timings.num_updated_steps == 1  # the last of two is not trained on
        assert each.num_images == 2
        assert each.sample_utilisation == pytest.approx(
            2 * 2 * report.work.forward_flops / (each.timings.sample * 1e12)
        )
        assert each.update_utilisation == pytest.approx(2 * report.work.update_flops / (each.timings.update * 1e12))
    written = json.loads(json.dumps(full_size_report.as_json(report)))
    assert [entry["variant"] for entry in written["rows"]] == [each.variant.name for each in rows]
    full_size_report.show(report)
    assert "no checkpointing, compiled" in capsys.readouterr().out


def test_the_operations_of_a_forward_pass_are_those_of_its_matrices() -> None:
    work, flops = _work("tiny"), 0
    width, text, image, mlp = 64, 12, 4, 256  # 2 heads of 32; 12 tokens of text, 2 × 2 of the image
    joint = text + image
    flops += image * 64 * width + text * 32 * width  # embedders
    flops += 2 * (256 * width + width * width) + 32 * width + width * width  # time, guidance and pooled text: 768 → …
    flops += (768 - 32) * width
    flops += 2 * 6 * width * width  # modulation of the double block, both streams
    flops += joint * (4 * width * width + 2 * width * mlp)  # its q, k, v, out and feed-forward
    flops += 2 * 3 * width * width  # modulation of two single blocks
    flops += 2 * joint * (3 * width * width + width * mlp + (width + mlp) * width)
    flops += 3 * 2 * joint * joint * width  # attention of three blocks
    flops += 2 * width * width + image * width * 64  # out
    adapter = work.forward_flops - work.reference_flops
    assert work.reference_flops == 2 * flops
    assert adapter == 2 * _adapter_products(text=text, image=image, width=width, mlp=mlp, rank=16)


def _adapter_products(*, text: int, image: int, width: int, mlp: int, rank: int) -> int:
    double = (text + image) * (4 * 2 * width + 2 * (width + mlp)) * rank
    single = 2 * (text + image) * 3 * 2 * width * rank
    return double + single


def test_the_real_flux_is_counted_without_its_weights() -> None:
    work = _work("flux-12b")
    assert work.num_parameters == 11_901_408_320
    assert work.weight_bytes > 2 * work.num_parameters
    assert work.trained_bytes == 16 * work.num_trained
    # Within a few per cent: two operations per parameter that a token meets, half of a double block each.
    assert 15e12 < work.forward_flops < 25e12
    assert work.forward_flops < work.backward_flops < 1.2 * work.forward_flops
    assert work.reference_flops < work.forward_flops
    assert work.saved_bytes_checkpointed < work.saved_bytes / 10


def _work(name: str) -> Work:
    shape = MODELS[name]
    return count_work(shape, shape.config(resolution=None, num_inference_steps=None, groups=1))


def test_a_model_that_does_not_fit_is_a_row_without_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    shape = MODELS["tiny"]
    plan = FullSizePlan(model=shape, resolution=None, num_inference_steps=2, groups=1, repeats=1, variants=EAGER)
    work = _work("tiny")
    none = FullSizeRow(variant=EAGER[0], timings=None, num_images=2, num_denoising_steps=2, work=work, peak_flops=1e12)
    assert none.trained_per_second is none.sampled_per_second is None
    assert none.sample_utilisation is none.update_utilisation is None
    full_size_report.show(
        FullSizeReport(machine="here", plan=plan, config=plan.config(), work=work, rows=(none,), seconds=1.0)
    )
    assert "does not fit" in capsys.readouterr().out
    assert full_size_report.in_words(none) == "does not fit into the device's memory"


def test_the_use_of_a_device_is_unknown_where_its_peak_is() -> None:
    assert peak_flops_of("NVIDIA H100 80GB HBM3") == 989e12
    assert peak_flops_of("NVIDIA H100 PCIe") == 756e12
    assert peak_flops_of("CPU") is None
    timings = Timings(sample=1.0, decode=1.0, update=2.0, sample_peak_gib=1.0, update_peak_gib=1.0, num_updated_steps=1)
    unknown = FullSizeRow(
        variant=EAGER[0], timings=timings, num_images=2, num_denoising_steps=2, work=_work("tiny"), peak_flops=None
    )
    assert unknown.sample_utilisation is None
    assert (unknown.sampled_per_second, unknown.trained_per_second) == (1.0, 0.5)


def test_making_a_model_leaves_the_default_type_as_it_was() -> None:
    assert torch.get_default_dtype() is torch.float32
    _work("tiny")
    assert torch.get_default_dtype() is torch.float32
