"""Training on several processes: the same updates as on one, and one end for all."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from starlette.types import ASGIApp, Receive, Scope, Send
from torch import Tensor

from services.reward_api.app import create_app
from services.reward_api.settings import Settings
from tests.trainer.distributed.ranks import Ending, run_ranks, run_train
from trainer.checkpoint import CheckpointStore
from trainer.config import TrainConfig

MakeConfig = Callable[..., TrainConfig]


@pytest.fixture
def service(tmp_path: Path) -> ASGIApp:
    return create_app(Settings(data_dir=tmp_path / "service"))


@pytest.fixture
def make_config(
    make_values: Callable[..., dict[str, Any]], serve: Callable[[ASGIApp], str], service: ASGIApp, tmp_path: Path
) -> MakeConfig:
    """Recipes of two small steps on a service of the test's own."""
    url = serve(service)

    def make(name: str = "run", *, reward: dict[str, Any] | None = None, **changes: Any) -> TrainConfig:
        values = {
            "output_dir": str(tmp_path / name),
            "steps": 2,
            "model": {"num_inference_steps": 4},
            "rollout": {"prompts_per_step": 4, "micro_batches": 4},
            "reward": {"url": url, "rubric": "t2i@none"} | (reward or {}),
            "loss": {"scale": "batch", "kl_weight": 0.1},
            "optimizer": {"warmup_steps": 0},
            "evaluation": {"every": 2, "images_per_prompt": 1},
            "tracking": {"trackers": []},
        }
        return TrainConfig.model_validate(make_values(**values | changes))

    return make


def _adapter(config: TrainConfig) -> Tensor:
    newest = CheckpointStore(config.output_dir / "checkpoints", keep=1).newest()
    assert newest is not None
    return torch.cat([value.flatten() for _, value in sorted(newest.adapter.items())])


def _records(config: TrainConfig, kind: str) -> list[dict[str, Any]]:
    lines = (config.output_dir / "metrics.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == kind]


@pytest.mark.timeout(900)  # ten starts, on a machine that may be busy
def test_the_update_is_the_same_on_1_2_and_4_processes_sharded_and_in_one_batch(
    make_config: MakeConfig, free_port: Callable[[], int]
) -> None:
    layouts = {"1x4": (1, 4), "2x2": (2, 4), "4x1": (4, 4), "2x2 sharded": (2, 4), "1x1": (1, 1)}
    for name, (num_processes, micro_batches) in layouts.items():
        config = make_config(name, rollout={"prompts_per_step": 4, "micro_batches": micro_batches})
        sharded = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"} if "sharded" in name else {}
        endings = run_ranks(run_train, [(config,)] * num_processes, port=free_port(), environment=sharded)
        assert {(each.step, each.is_complete, each.error) for each in endings} == {(2, True, None)}
        assert [len(each.said) for each in endings] == [1] + [0] * (num_processes - 1)
    whole = make_config("1x4")
    learned = _adapter(whole)
    first = load_file(whole.output_dir / "checkpoints" / "step-000001" / "adapter.safetensors")
    start = torch.cat([value.flatten() for _, value in sorted(first.items())])
    for name in list(layouts)[1:]:
        config = make_config(name)
        drift = (_adapter(config) - learned).norm() / (learned - start).norm()
        assert drift < 1e-3, name
        for step, expected in zip(_records(config, "step"), _records(whole, "step"), strict=True):
            assert step["verdicts"]["scored"] == expected["verdicts"]["scored"] == 4
            for number in ("loss", "grad_norm"):
                assert step["update"][number] == pytest.approx(expected["update"][number], rel=1e-3, abs=1e-6), name
        evaluations = [record["overall"]["win_rate"] for record in _records(config, "evaluation")]
        assert evaluations == [record["overall"]["win_rate"] for record in _records(whole, "evaluation")]


def test_when_the_requests_of_one_process_fail_all_stop_with_its_reason_and_the_run_is_saved(
    make_config: MakeConfig, service: ASGIApp, serve: Callable[[ASGIApp], str], free_port: Callable[[], int]
) -> None:
    asked = []

    async def gone_after_one(scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path") == "/reward":
            asked.append(scope)
            if len(asked) > 1:
                await send({"type": "http.response.start", "status": 503, "headers": [(b"retry-after", b"3600")]})
                await send({"type": "http.response.body", "body": b"the cable is out"})
                return
        await service(scope, receive, send)

    rollout = {"prompts_per_step": 2, "micro_batches": 2}
    evaluation = {"prompts": None}
    well = make_config(rollout=rollout, evaluation=evaluation)
    cut_off = make_config(
        rollout=rollout, evaluation=evaluation, reward={"url": serve(gone_after_one), "max_wait_seconds": 0}
    )
    first, second = run_ranks(run_train, [(well,), (cut_off,)], port=free_port())
    assert first.error == second.error
    assert str(second.error).startswith(f"RewardsUnavailable: the reward service at {cut_off.reward.url} gave no")
    newest = CheckpointStore(well.output_dir / "checkpoints", keep=1).newest()
    assert newest is not None
    assert newest.state.step == 1


def test_when_one_process_is_asked_to_stop_all_do_after_the_same_step(
    make_config: MakeConfig, free_port: Callable[[], int]
) -> None:
    config = make_config(steps=3, evaluation={"prompts": None})
    first, second = run_ranks(run_train, [(config,), (config, 1)], port=free_port())
    assert (first.step, first.is_complete) == (second.step, second.is_complete) == (1, False)
    on_one = run_ranks(run_train, [(config,)], port=0)
    assert on_one == [Ending(step=3, is_complete=True, said=on_one[0].said)]
    assert "resuming at step 1" in on_one[0].said[0]  # with another number of processes


def test_sharded_processes_refuse_sources_that_would_give_them_different_numbers_of_passes(
    make_config: MakeConfig, free_port: Callable[[], int], tmp_path: Path
) -> None:
    for width in (32, 48):
        Image.new("RGB", (width, 32)).save(tmp_path / f"{width}.png")
    edits = tmp_path / "edits.jsonl"
    edits.write_text("".join(f'{{"prompt": "paint it", "source_image": "{width}.png"}}\n' for width in (32, 48)))
    config = make_config(model={"family": "qwen_image_edit", "path": "."}, data={"prompts": str(edits)}, evaluation={})
    sharded = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
    first, second = run_ranks(run_train, [(config,)] * 2, port=free_port(), environment=sharded)
    assert first.error == second.error
    assert "must all be of one size" in str(first.error)


def test_a_process_without_memory_says_so_and_the_others_that_another_one_does(
    make_config: MakeConfig, free_port: Callable[[], int]
) -> None:
    well, too_large = make_config(), make_config(model={"num_inference_steps": 4, "resolution": 16 << 20})
    first, second = run_ranks(run_train, [(well,), (too_large,)], port=free_port())
    assert str(second.error).startswith("OutOfMemory: out of memory on rank 1 (cpu")
    assert first.error == "FailedElsewhere: another process failed"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rollout": {"prompts_per_step": 3, "micro_batches": 3}}, "micro_batches (3) must be a multiple of"),
        ({"data": {"prompts": "nowhere.jsonl"}}, "nowhere.jsonl"),
        ({"model": {"path": "."}}, "'.' holds no FLUX pipeline"),
    ],
)
def test_a_mistake_that_one_process_meets_ends_all_with_one_message(
    make_config: MakeConfig, free_port: Callable[[], int], changes: dict[str, Any], message: str
) -> None:
    wrong = make_config(**changes)
    other = wrong if "rollout" in changes else make_config()
    first, second = run_ranks(run_train, [(other,), (wrong,)], port=free_port())
    assert first.error == second.error
    assert message in str(first.error)
