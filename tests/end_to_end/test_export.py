"""The exported adapter, as somebody else would load it: in a fresh process, with diffusers or PEFT alone."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from shared_schemas.rubrics import RubricContent
from trainer.config import TrainConfig
from trainer.data import Example
from trainer.errors import ConfigError
from trainer.export import RubricText, export_run, usage_lines
from trainer.policies import load_policy
from trainer.rollout import sample_deterministic
from trainer.train import train

DIFFUSERS_SCRIPT = """
import sys, torch
from diffusers import FluxPipeline
from safetensors.torch import load_file, save_file
model, adapter, latents, output = sys.argv[1:]
pipe = FluxPipeline.from_pretrained(model)
if adapter != "-":
    pipe.load_lora_weights(adapter)
image = pipe("a red circle", latents=load_file(latents)["latents"], height=32, width=32, num_inference_steps=8,
             guidance_scale=3.5, max_sequence_length=12, output_type="pt").images
save_file({"image": image}, output)
"""

PEFT_SCRIPT = DIFFUSERS_SCRIPT.replace(
    "pipe.load_lora_weights(adapter)",
    "from peft import PeftModel; pipe.transformer = PeftModel.from_pretrained(pipe.transformer, adapter)",
)


def _draw(script: str, model: Path, adapter: Path | str, folder: Path) -> torch.Tensor:
    """Run a script in a fresh process; the image [1, 3, 32, 32] it drew from the noise in `folder`."""
    output = folder / "image.safetensors"
    command = [sys.executable, "-c", script, str(model), str(adapter), str(folder / "latents.safetensors"), str(output)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert finished.returncode == 0, finished.stderr[-2000:]
    image: torch.Tensor = load_file(output)["image"]
    return image


@pytest.fixture
def trained(make_config: Callable[..., TrainConfig]) -> TrainConfig:
    """A run whose adapter has moved, with alpha other than rank so that lost scaling shows."""
    config = make_config(steps=3, lora={"rank": 4, "alpha": 16}, optimizer={"learning_rate": 2e-2, "warmup_steps": 0})
    train(config)
    return config


def test_a_fresh_process_draws_the_trainers_image_whichever_way_it_loads(
    trained: TrainConfig, tiny_flux: Path, tmp_path: Path
) -> None:
    adapter = export_run(trained, tmp_path / "adapter")
    policy = load_policy(trained, examples=[Example("a red circle")], device=torch.device("cpu"))
    policy.load_adapter_state(
        {
            name.removeprefix("base_model.model."): value
            for name, value in load_file(adapter / "adapter_model.safetensors").items()
        }
    )
    latents = torch.randn(1, *policy.latent_shape, generator=torch.Generator().manual_seed(0))
    save_file({"latents": latents}, tmp_path / "latents.safetensors")
    ours = sample_deterministic(policy, latents, policy.conditioning([Example("a red circle")]))
    base = _draw(DIFFUSERS_SCRIPT, tiny_flux, "-", tmp_path)
    assert (ours - base).abs().max() > 0.02
    for script in (DIFFUSERS_SCRIPT, PEFT_SCRIPT):
        torch.testing.assert_close(_draw(script, tiny_flux, adapter, tmp_path), ours, atol=1e-3, rtol=0)


def test_the_model_card_has_the_lines_that_work(trained: TrainConfig, tmp_path: Path) -> None:
    adapter = export_run(trained, tmp_path / "adapter")
    card = (adapter / "README.md").read_text()
    assert usage_lines(trained, "path/to/this/directory") in card
    assert "| LoRA | rank 4, alpha 16 |" in card
    script = usage_lines(trained, str(adapter)) + "\nassert image.size == (32, 32)\n"
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, timeout=120)
    assert json.loads((adapter / "adapter_config.json").read_text())["lora_alpha"] == 16


def test_the_model_card_of_an_sd3_run_names_its_pipeline_and_its_method(
    tiny_sd3: Path, make_config: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    config = make_config(model={"family": "sd3", "path": str(tiny_sd3)}, loss={"scale": "group"}, steps=1)
    train(config)
    adapter = export_run(config, tmp_path / "adapter")
    card = (adapter / "README.md").read_text()
    assert "Flow-GRPO" in card
    assert "RPO," not in card.replace("Flow-GRPO,", "")
    script = usage_lines(config, str(adapter)) + "\nassert type(pipe).__name__ == 'StableDiffusion3Pipeline'\n"
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, timeout=120)


@pytest.mark.parametrize("lora", [{"alpha": 4}, {"rank": 8}])
def test_a_run_is_not_exported_with_another_recipe(trained: TrainConfig, tmp_path: Path, lora: dict[str, int]) -> None:
    other = trained.model_copy(update={"lora": trained.lora.model_copy(update=lora)})
    with pytest.raises(ConfigError, match=rf"other values of lora\.{next(iter(lora))};"):
        export_run(other, tmp_path / "adapter")


def test_the_model_card_never_shows_a_rubric_the_run_did_not_see(trained: TrainConfig, tmp_path: Path) -> None:
    moved_on = RubricText(reference="shapes@2", content=RubricContent(task="t2i", task_description="newer"))
    with pytest.raises(ConfigError, match="shapes@2 is not what the run was rewarded by"):
        export_run(trained, tmp_path / "adapter", rubric=moved_on)


def test_exporting_over_something_else_is_refused(trained: TrainConfig, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").write_text("years")
    with pytest.raises(ConfigError, match="not an adapter"):
        export_run(trained, precious)
    assert (precious / "thesis.tex").read_text() == "years"


def test_exporting_twice_replaces_the_adapter(trained: TrainConfig, tmp_path: Path) -> None:
    export_run(trained, tmp_path / "adapter")
    assert export_run(trained, tmp_path / "adapter") == tmp_path / "adapter"


def test_a_run_without_a_checkpoint_has_nothing_to_export(
    make_config: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="no checkpoint yet"):
        export_run(make_config(), tmp_path / "adapter")
