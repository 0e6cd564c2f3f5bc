"""Rows that are encoded once, and training from them."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from PIL import Image
from safetensors.torch import load_file

from trainer.config import TrainConfig
from trainer.data import Example, read_run_examples
from trainer.errors import ConfigError
from trainer.policies import load_policy
from trainer.prepare import prepare

CPU = torch.device("cpu")

KILLED_AT_THE_TENTH_ROW = """
import os, signal, sys
from pathlib import Path
from trainer.config import load_config
from trainer.prepare import prepare

def kill(done, total):
    if done == 10:
        os.kill(os.getpid(), signal.SIGKILL)

prepare(load_config(Path(sys.argv[1])), progress=kill, max_rows=4)
"""


@pytest.fixture
def make_recipe(make_values: Callable[..., dict[str, Any]], tmp_path: Path) -> Callable[..., TrainConfig]:
    """`make_recipe("a", "b", model={…})`: a recipe with these prompts, prepared in `prepared`; no evaluation."""

    def make(*prompts: str, **changes: Any) -> TrainConfig:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
        data = {"prompts": str(path), "prepared": str(tmp_path / "prepared"), **changes.pop("data", {})}
        return TrainConfig.model_validate({**make_values(data=data, **changes), "evaluation": {}})

    return make


def _unprepared(config: TrainConfig) -> TrainConfig:
    return config.model_copy(update={"data": config.data.model_copy(update={"prepared": None})})


def _conditioning(config: TrainConfig) -> list[torch.Tensor]:
    examples, _ = read_run_examples(config)
    conditioning = load_policy(config, examples=examples, device=CPU).conditioning(examples)
    if config.model.is_edit:
        return [row[name] for row in conditioning.rows for name in sorted(row)]
    return [conditioning.prompt_embeds_BLE, conditioning.pooled_embeds_BC]


def _rows_on_disk(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor by the key of its row, whichever file it is in."""
    rows = {}
    for shard in json.loads((folder / "index.json").read_text())["shards"]:
        for name, tensor in load_file(folder / shard["file"]).items():
            number, _, part = name.partition("/")
            rows[f"{shard['keys'][int(number)]}/{part}"] = tensor
    return rows


@pytest.mark.parametrize("family", ["flux", "sd3", "qwen_edit", "qwen_edit_plus"])
def test_training_without_text_encoders_sees_the_very_same_embeddings(
    family: str, make_recipe: Callable[..., TrainConfig], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    pipeline = shutil.copytree(request.getfixturevalue(f"tiny_{family}"), tmp_path / "pipeline")
    name = family.replace("qwen_", "qwen_image_")
    resolution = 128 if "qwen" in family else 32
    config = make_recipe("x", "y", model={"family": name, "path": str(pipeline), "resolution": resolution})
    if config.model.is_edit:
        Image.new("RGB", (48, 32), "red").save(tmp_path / "before.png")
        row = {"prompt": "make it blue", "source_image": "before.png"}
        config.data.prompts.write_text(json.dumps(row) + "\n" + json.dumps({**row, "prompt": "make it snow"}))
    on_the_fly = _conditioning(_unprepared(config))
    assert prepare(config).is_complete
    for folder in (*pipeline.glob("text_encoder*"), *pipeline.glob("tokenizer*"), *pipeline.glob("processor")):
        shutil.rmtree(folder)
    from_disk = _conditioning(config)
    assert from_disk
    for prepared, expected in zip(from_disk, on_the_fly, strict=True):
        assert torch.equal(prepared, expected)
    with pytest.raises(ConfigError, match="holds no"):
        _conditioning(_unprepared(config))


def test_a_prepared_policy_draws_the_same_image(make_recipe: Callable[..., TrainConfig]) -> None:
    config = make_recipe("a red circle", model={"dtype": "bfloat16"})
    prepare(config)
    images = []
    for each in (config, _unprepared(config)):
        policy = load_policy(each, examples=[Example("a red circle")], device=CPU)
        latents = torch.randn(1, *policy.latent_shape, generator=torch.Generator().manual_seed(0))
        images.append(policy.pipeline_images(latents, policy.conditioning([Example("a red circle")])))
    assert torch.equal(*images)


def test_what_is_there_is_not_made_again_and_loads_no_encoder(
    tiny_flux: Path, make_recipe: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    pipeline = shutil.copytree(tiny_flux, tmp_path / "pipeline")
    config = make_recipe("a", "b", "b", "c", model={"path": str(pipeline)})
    first = prepare(config)
    assert (first.num_rows, first.num_encoded) == (3, 3)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "prepared").iterdir()}
    shutil.rmtree(pipeline / "text_encoder_2")
    again = prepare(config)
    assert (again.num_rows, again.num_done, again.num_encoded) == (3, 3, 0)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "prepared").iterdir()} == written


def test_only_new_prompts_are_encoded(make_recipe: Callable[..., TrainConfig]) -> None:
    prepare(make_recipe("a", "b"))
    more = prepare(make_recipe("c", "b", "a", "d"))
    assert (more.num_rows, more.num_encoded) == (4, 2)
    for prepared, expected in zip(
        _conditioning(make_recipe("d", "a")), _conditioning(_unprepared(make_recipe("d", "a"))), strict=True
    ):
        assert torch.equal(prepared, expected)


def test_killed_in_the_middle_it_goes_on_at_the_next_file_and_ends_with_the_same_rows(
    make_recipe: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    import tomli_w

    config = make_recipe(*(f"prompt {number}" for number in range(14)))
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(tomli_w.dumps(config.model_dump(mode="json", exclude_none=True)))
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_AT_THE_TENTH_ROW, str(recipe)], capture_output=True, timeout=240, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    folder = tmp_path / "prepared"
    assert len(_rows_on_disk(folder)) == 2 * 8
    (folder / "00002-0123456789ab.safetensors").write_bytes(b"named by no index")
    (folder / "00002-0123456789ab.draft").write_bytes(b"half a f")
    steps: list[tuple[int, int]] = []
    resumed = prepare(config, progress=lambda done, total: steps.append((done, total)), max_rows=4)
    assert (resumed.num_done, resumed.num_encoded) == (14, 6)
    assert steps == [(done, 14) for done in range(8, 15)]
    assert not list(folder.glob("00002-0123456789ab.*"))

    undisturbed = make_recipe(*(f"prompt {number}" for number in range(14)), data={"prepared": str(tmp_path / "other")})
    prepare(undisturbed)
    interrupted, expected = _rows_on_disk(folder), _rows_on_disk(tmp_path / "other")
    assert interrupted.keys() == expected.keys()
    assert all(torch.equal(interrupted[name], expected[name]) for name in expected)


def test_asked_to_stop_it_writes_what_it_has(make_recipe: Callable[..., TrainConfig]) -> None:
    config, asked = make_recipe("a", "b", "c", "d"), iter([False, False, False, True])
    stopped = prepare(config, should_stop=lambda: next(asked))
    assert not stopped.is_complete
    assert (stopped.num_done, stopped.num_rows) == (3, 4)
    assert prepare(config).num_encoded == 1


def test_whatever_ends_it_what_was_encoded_is_written(make_recipe: Callable[..., TrainConfig]) -> None:
    def leave(done: int, total: int) -> None:
        if done == 2:
            raise SystemExit(130)

    config = make_recipe("a", "b", "c")
    with pytest.raises(SystemExit):
        prepare(config, progress=leave)
    assert prepare(config).num_encoded == 1


def test_a_file_that_was_cut_short_is_made_again(make_recipe: Callable[..., TrainConfig], tmp_path: Path) -> None:
    config = make_recipe("a", "b", "c")
    prepare(config, max_rows=2)
    shard = sorted((tmp_path / "prepared").glob("*.safetensors"))[0]
    os.truncate(shard, 100)
    with pytest.raises(ConfigError, match="lacks 2 of 3 examples, such as 'a'; run `arr prepare`"):
        _conditioning(config)
    assert prepare(config).num_encoded == 2
    _conditioning(config)


def test_a_prompt_that_is_not_prepared_is_named_with_the_command(make_recipe: Callable[..., TrainConfig]) -> None:
    with pytest.raises(ConfigError, match="prepared holds no rows yet; run `arr prepare` with this recipe"):
        _conditioning(make_recipe("a"))
    prepare(make_recipe("a", "b"))
    with pytest.raises(ConfigError, match="lacks 1 of 2 examples, such as 'new'; run `arr prepare` with this recipe"):
        _conditioning(make_recipe("a", "new"))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            {"max_sequence_length": 11},
            r"with model\.max_sequence_length 12, and the recipe has 11; name another folder",
        ),
        ({"dtype": "bfloat16"}, r"with model\.dtype 'float32', and the recipe has 'bfloat16'"),
    ],
)
def test_rows_of_other_encoders_are_refused(
    make_recipe: Callable[..., TrainConfig], model: dict[str, Any], message: str
) -> None:
    prepare(make_recipe("a"))
    for use in (prepare, _conditioning):
        with pytest.raises(ConfigError, match=message):
            use(make_recipe("a", model=model))


def test_finetuned_encoders_of_the_same_size_are_others(
    tiny_flux: Path, make_recipe: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    prepare(make_recipe("a"))
    pipeline = shutil.copytree(tiny_flux, tmp_path / "pipeline")
    assert _conditioning(make_recipe("a", model={"path": str(pipeline)}))  # a copy is the same
    weights = pipeline / "text_encoder" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ConfigError, match=r"other text encoders than those at model\.path"):
        _conditioning(make_recipe("a", model={"path": str(pipeline)}))


def test_what_rows_do_not_depend_on_may_change(make_recipe: Callable[..., TrainConfig]) -> None:
    prepare(make_recipe("a"))
    assert _conditioning(make_recipe("a", model={"resolution": 64, "num_inference_steps": 4}))


def test_a_model_of_text_alone_refuses_source_images(make_recipe: Callable[..., TrainConfig], tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "before.png")
    config = make_recipe("a")
    config.data.prompts.write_text('{"prompt": "make it snow", "source_image": "before.png"}')
    for use in (prepare, _conditioning, lambda config: _conditioning(_unprepared(config))):
        with pytest.raises(ConfigError, match="'flux' takes 0 source images, and 'make it snow' has 1"):
            use(config)


def test_two_writers_of_one_folder_are_one_too_many(make_recipe: Callable[..., TrainConfig], tmp_path: Path) -> None:
    (tmp_path / "prepared").mkdir()
    with (
        FileLock(tmp_path / "prepared" / ".lock"),
        pytest.raises(ConfigError, match="another `arr prepare` is filling"),
    ):
        prepare(make_recipe("a"))


@pytest.mark.parametrize(("content", "message"), [("{}", "is not of this version"), ("{", "is not of this version")])
def test_an_index_of_another_version_is_refused(
    make_recipe: Callable[..., TrainConfig], tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "prepared").mkdir()
    (tmp_path / "prepared" / "index.json").write_text(content)
    with pytest.raises(ConfigError, match=message):
        prepare(make_recipe("a"))
