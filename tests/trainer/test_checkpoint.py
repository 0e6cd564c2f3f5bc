import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from trainer.checkpoint import Checkpoint, CheckpointStore, RunState
from trainer.errors import ConfigError


def _state(step: int = 1, **changes: Any) -> RunState:
    values: dict[str, Any] = {
        "step": step,
        "recipe": {"seed": 0, "optimizer": {"learning_rate": 1e-3}},
        "data_digest": "sha256:99",
        "rubric_digest": "sha256:aa",
        "judge_fingerprint": "sha256:bb",
    }
    return RunState(**(values | changes))


def _checkpoint(step: int) -> Checkpoint:
    weights = {"layer.lora_A.weight": torch.full((2, 2), float(step))}
    moments = {"state": {0: {"step": torch.tensor(step)}}}
    return Checkpoint(state=_state(step), adapter=weights, optimizer=moments, ema=weights)


def test_the_newest_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=3)
    for step in (9, 10, 100):
        store.save(_checkpoint(step))
    newest = store.newest()
    assert newest is not None
    assert newest.state == _state(100)
    assert newest.adapter["layer.lora_A.weight"].tolist() == [[100.0, 100.0], [100.0, 100.0]]
    assert newest.optimizer["state"][0]["step"].item() == 100
    assert newest.ema is not None
    assert newest.ema["layer.lora_A.weight"].tolist() == [[100.0, 100.0], [100.0, 100.0]]


def test_saving_a_step_again_leaves_the_saved_one_untouched(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    first = store.save(_checkpoint(1))
    written = (first / "state.json").stat().st_mtime_ns
    assert store.save(_checkpoint(1)) == first
    assert (first / "state.json").stat().st_mtime_ns == written


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    for step in range(1, 5):
        store.save(_checkpoint(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000003", "step-000004"]


def test_the_best_is_kept_beside_the_newest_until_another_is_better(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    assert store.best() is None
    for step, is_best in [(1, True), (2, True), (3, False), (4, False), (5, False)]:
        store.save(_checkpoint(step))
        if is_best:
            store.mark_best(step)
    assert sorted(path.name for path in tmp_path.glob("step-*")) == ["step-000002", "step-000004", "step-000005"]
    best, newest = CheckpointStore(tmp_path, keep=2).best(), store.newest()
    assert best is not None
    assert newest is not None
    assert (best.state.step, newest.state.step) == (2, 5)
    store.mark_best(5)
    assert sorted(path.name for path in tmp_path.glob("step-*")) == ["step-000004", "step-000005"]


def test_a_best_checkpoint_that_is_damaged_is_said_and_not_replaced_by_another(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    for step in (1, 2):
        store.save(_checkpoint(step))
    store.mark_best(1)
    (tmp_path / "step-000001" / "adapter.safetensors").write_bytes(b"half")
    with pytest.raises(ConfigError, match=r"the best checkpoint, .*step-000001, is damaged \(adapter\.safetensors"):
        store.best()


def test_what_is_saved_after_going_on_from_before_a_damaged_checkpoint_is_kept(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=1)
    store.save(_checkpoint(20))
    store.mark_best(20)
    store.save(_checkpoint(30))
    (tmp_path / "step-000030" / "adapter.safetensors").write_bytes(b"half")
    store.save(_checkpoint(25))  # from 20, and stopped on the way
    newest = store.newest()
    assert newest is not None
    assert newest.state.step == 25


def test_a_draft_that_a_crash_left_behind_is_not_mistaken_for_a_checkpoint(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    store.save(_checkpoint(1))
    draft = tmp_path / ".draft-000002"
    draft.mkdir()
    (draft / "adapter.safetensors").write_bytes(b"half")
    newest = store.newest()
    assert newest is not None
    assert newest.state.step == 1
    assert store.save(_checkpoint(2)).name == "step-000002"


@pytest.mark.parametrize("name", ["adapter.safetensors", "optimizer.pt", "state.json", "ema.safetensors", "SHA256SUMS"])
@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_damaged_checkpoint_is_left_out_and_said_and_written_again(tmp_path: Path, name: str, damage: str) -> None:
    said: list[str] = []
    store = CheckpointStore(tmp_path, keep=2, report=said.append)
    for step in (1, 2):
        store.save(_checkpoint(step))
    file = tmp_path / "step-000002" / name
    content = file.read_bytes()
    match damage:
        case "cut":
            file.write_bytes(content[: len(content) // 2])
        case "changed":
            file.write_bytes(content[:-9] + b"x" + content[-8:])
        case "gone":
            file.unlink()
    newest = store.newest()
    assert newest is not None
    assert newest.state.step == 1
    (line,) = said
    assert line.startswith("checkpoint step-000002 is damaged (")
    assert name in line or name == "SHA256SUMS"  # whose damage looks like that of another file
    store.save(_checkpoint(2))
    again = store.newest()
    assert again is not None
    assert again.state.step == 2


def test_when_all_are_damaged_nothing_starts_over_by_itself(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    store.save(_checkpoint(1))
    (tmp_path / "step-000001" / "adapter.safetensors").write_bytes(b"half")
    with pytest.raises(ConfigError, match=r"all checkpoints in .* are damaged"):
        store.newest()


def test_a_checkpoint_can_be_checked_without_this_program(tmp_path: Path) -> None:
    folder = CheckpointStore(tmp_path, keep=2).save(_checkpoint(1))
    checked = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True, check=True)
    assert checked.stdout.count(": OK\n") == 4


def test_a_run_without_checkpoints_starts_at_the_beginning(tmp_path: Path) -> None:
    assert CheckpointStore(tmp_path / "none", keep=1).newest() is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": {"seed": 1, "optimizer": {"learning_rate": 1e-3}}}, "other values of seed;"),
        ({"recipe": {"seed": 0, "optimizer": {"learning_rate": 1e-4}}}, "other values of optimizer.learning_rate;"),
        ({"data_digest": "sha256:cc"}, "other data"),
        ({"rubric_digest": "sha256:cc"}, "another rubric version"),
        ({"judge_fingerprint": "sha256:cc"}, "another judge"),
    ],
)
def test_a_run_is_not_continued_with_anything_else(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _state().refuse_other(_state(**changes))


@pytest.mark.parametrize(
    ("what", "changes"), [("rubric", {"rubric_digest": "sha256:cc"}), ("judge", {"judge_fingerprint": "sha256:cc"})]
)
def test_another_rubric_or_judge_is_accepted_by_name_and_by_no_other(what: str, changes: dict[str, Any]) -> None:
    other = _state(**changes)
    (change,) = _state(5).changes_to(other)
    assert (change.step, change.what, change.after) == (5, what, "sha256:cc")
    _state(5).refuse_other(other, accept=[what])
    with pytest.raises(ConfigError, match=re.escape(f"checkpoint.accept_changes='[\"{what}\"]'")):
        _state(5).refuse_other(other, accept={"rubric", "judge"} - {what})


def test_a_run_is_continued_with_the_same_at_any_step() -> None:
    _state(3).refuse_other(_state(0))
