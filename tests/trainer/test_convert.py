"""Adapters published in PEFT's layout, converted, as a fresh process draws with them."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxTransformer2DModel, QwenImageTransformer2DModel, SD3Transformer2DModel
from peft import IA3Config, LoraConfig, get_peft_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from trainer.convert import convert_peft
from trainer.errors import ConfigError

PUBLISHED_TARGETS = (
    *("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0", "attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    *("attn.to_add_out", "ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2"),
)
"""What the published adapters of ARR-RPO are on."""

DRAWING = """
import sys, torch
from PIL import Image
from diffusers import DiffusionPipeline
from peft import PeftModel
from safetensors.torch import save_file
import trainer.policies.qwen_processor  # what the tiny Qwen-Image-Edit has for a processor
images = {}
for name, model, published, converted in zip(*[iter(sys.argv[2:])] * 4, strict=True):
    edit = {"image": Image.new("RGB", (64, 64), "red"), "negative_prompt": " "} if name == "qwen_edit" else {}
    side = 128 if edit else 32
    pipe = DiffusionPipeline.from_pretrained(model)
    for how in ("base", "converted", "peft"):
        if how == "converted":
            pipe.load_lora_weights(converted)
        if how == "peft":
            pipe.unload_lora_weights()
            pipe.transformer = PeftModel.from_pretrained(pipe.transformer, published)
        images[f"{name} {how}"] = pipe(
            prompt="a red circle", height=side, width=side, num_inference_steps=2, max_sequence_length=64,
            output_type="pt", generator=torch.Generator().manual_seed(0), **edit,
        ).images
save_file(images, sys.argv[1])
"""


def publish(transformer: Any, folder: Path, *, std: float = 0.05, **options: Any) -> Path:
    """Write an adapter that has moved, as `PeftModel.save_pretrained` does."""
    config = LoraConfig(**{"r": 4, "lora_alpha": 16, "target_modules": list(PUBLISHED_TARGETS), **options})
    model = get_peft_model(transformer, config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(std * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def published(tiny_flux: Path, tmp_path: Path) -> Path:
    return publish(FluxTransformer2DModel.from_pretrained(tiny_flux, subfolder="transformer"), tmp_path / "published")


@pytest.fixture(scope="module")
def images(
    tiny_flux: Path, tiny_sd3: Path, tiny_qwen_edit: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, torch.Tensor]:
    """What a fresh process draws with the base, with PEFT, and with the converted adapter in diffusers."""
    folder = tmp_path_factory.mktemp("images")
    flux = FluxTransformer2DModel.from_pretrained(tiny_flux, subfolder="transformer")
    qwen = QwenImageTransformer2DModel.from_pretrained(tiny_qwen_edit, subfolder="transformer")
    sd3 = SD3Transformer2DModel.from_pretrained(tiny_sd3, subfolder="transformer")
    publish(flux, folder / "flux")
    publish(sd3, folder / "sd3", use_rslora=True, rank_pattern={"attn.to_q": 2}, alpha_pattern={"attn.to_q": 32})
    publish(qwen, folder / "qwen_edit", std=0.3, target_modules=list(PUBLISHED_TARGETS[:8]))
    arguments = []
    for name, base in (("flux", tiny_flux), ("sd3", tiny_sd3), ("qwen_edit", tiny_qwen_edit)):
        converted = convert_peft(folder / name, folder / f"{name}-converted", base=str(base))
        arguments += [name, str(base), str(folder / name), str(converted)]
    drawn = folder / "images.safetensors"
    command = [sys.executable, "-c", DRAWING, str(drawn), *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert finished.returncode == 0, finished.stderr[-4000:]
    images: dict[str, torch.Tensor] = load_file(drawn)
    return images


@pytest.mark.parametrize("name", ["flux", "sd3", "qwen_edit"])
def test_diffusers_draws_with_the_converted_adapter_what_peft_draws_with_the_published_one(
    images: dict[str, torch.Tensor], name: str
) -> None:
    base, peft, converted = (images[f"{name} {how}"] for how in ("base", "peft", "converted"))
    assert (peft - base).abs().max() > 0.02
    torch.testing.assert_close(converted, peft, atol=1e-5, rtol=0)


def test_the_converted_adapter_converts_to_itself(published: Path, tmp_path: Path) -> None:
    once = convert_peft(published, tmp_path / "once")
    twice = convert_peft(once, tmp_path / "twice")
    for name in ("pytorch_lora_weights.safetensors", "adapter_model.safetensors"):
        assert _content(once / name) == _content(twice / name)
    assert (once / "README.md").read_text() == (twice / "README.md").read_text()
    assert json.loads((once / "adapter_config.json").read_text())["lora_alpha"] == 16


def test_without_a_base_the_card_names_the_one_that_the_adapter_was_trained_on(published: Path, tmp_path: Path) -> None:
    _reconfigure(published, base_model_name_or_path="lab/base")
    card = (convert_peft(published, tmp_path / "converted") / "README.md").read_text()
    assert 'DiffusionPipeline.from_pretrained("lab/base", dtype=torch.bfloat16)' in card


def test_names_with_the_pipelines_prefix_are_understood(published: Path, tmp_path: Path) -> None:
    plain = convert_peft(published, tmp_path / "plain")
    _rename(published, lambda name: name.replace("base_model.model.", "transformer."))
    renamed = convert_peft(published, tmp_path / "renamed")
    name = "pytorch_lora_weights.safetensors"
    assert _content(plain / name) == _content(renamed / name)


def test_another_model_is_refused_by_its_class(published: Path, tiny_sd3: Path, tmp_path: Path) -> None:
    _refused(published, tmp_path, "is for a FluxTransformer2DModel; .* has a SD3Transformer2DModel", base=tiny_sd3)


def test_a_model_of_the_same_class_but_another_size_is_refused(
    published: Path, tiny_flux: Path, tmp_path: Path
) -> None:
    _rename(published, lambda name: name.replace("transformer_blocks.0.", "transformer_blocks.7."))
    _refused(published, tmp_path, r"lacks \d+ of \d+ layers, such as .*transformer_blocks\.7\.", base=tiny_flux)


def test_layers_of_another_width_are_refused(tiny_flux: Path, tmp_path: Path) -> None:
    config = FluxTransformer2DModel.load_config(tiny_flux, subfolder="transformer")
    wider = FluxTransformer2DModel.from_config({**config, "num_attention_heads": config["num_attention_heads"] + 1})
    _refused(publish(wider, tmp_path / "wider"), tmp_path, r"is \(96, 96\) there and \(128, 128\)", base=tiny_flux)


def test_a_base_that_is_none_is_refused(published: Path, tmp_path: Path) -> None:
    _refused(published, tmp_path, "holds no diffusers pipeline", base=tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"use_dora": True}, "has use_dora; only plain LoRA"),
        ({"modules_to_save": ["proj_out"]}, "has modules_to_save"),
        ({"bias": "all"}, "has bias = 'all'"),
        ({"init_lora_weights": "pissa"}, "has init_lora_weights = 'pissa'"),
        ({"r": 8}, "has rank 4; adapter_config.json says 8"),
        ({"peft_type": "NEW_KIND"}, "adapter_config.json cannot be read: .*NEW_KIND"),
    ],
)
def test_what_would_draw_other_images_is_refused_by_name(
    published: Path, tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    _reconfigure(published, **values)
    _refused(published, tmp_path, message)


def test_another_kind_of_adapter_is_refused_by_name(tmp_path: Path) -> None:
    IA3Config(target_modules=["to_q"], feedforward_modules=[]).save_pretrained(tmp_path / "ia3")
    _refused(tmp_path / "ia3", tmp_path, "of type .*IA3; only LORA")


def test_half_a_layer_is_refused(published: Path, tmp_path: Path) -> None:
    _rename(published, lambda name: None if name.endswith("0.attn.to_q.lora_B.weight") else name)
    _refused(published, tmp_path, "only one of the two weights of .*to_q")


def test_pickled_weights_are_not_read(published: Path, tmp_path: Path) -> None:
    (published / "adapter_model.safetensors").rename(published / "adapter_model.bin")
    _refused(published, tmp_path, "has no adapter_model.safetensors; pickled weights are not read")


def test_a_damaged_file_is_named(published: Path, tmp_path: Path) -> None:
    (published / "adapter_model.safetensors").write_bytes(b"half a downl")
    _refused(published, tmp_path, r"adapter_model\.safetensors cannot be read")


def test_a_folder_of_adapters_is_answered_with_one_of_them(published: Path, tmp_path: Path) -> None:
    _refused(tmp_path, tmp_path, f"name the folder of one adapter, {published}")


def test_an_adapter_in_diffusers_layout_needs_no_conversion(tmp_path: Path) -> None:
    (tmp_path / "pytorch_lora_weights.safetensors").touch()
    _refused(tmp_path, tmp_path, "load_lora_weights takes it as it is")


def test_neither_the_adapter_itself_nor_other_things_are_overwritten(published: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is the adapter itself"):
        convert_peft(published, published)
    (tmp_path / "thesis").mkdir()
    with pytest.raises(ConfigError, match="exists and is not an adapter"):
        convert_peft(published, tmp_path / "thesis")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["published", "thesis"]


def _refused(source: Path, tmp_path: Path, message: str, *, base: Path | None = None) -> None:
    with pytest.raises(ConfigError, match=message):
        convert_peft(source, tmp_path / "converted", base=str(base) if base else None)
    assert not (tmp_path / "converted").exists()


def _content(path: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Metadata and weights; their order in the file is no matter."""
    with safe_open(path, framework="pt") as file:
        return file.metadata(), {name: file.get_tensor(name).tolist() for name in file.keys()}  # noqa: SIM118


def _reconfigure(folder: Path, **values: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def _rename(folder: Path, name: Callable[[str], str | None]) -> None:
    path = folder / "adapter_model.safetensors"
    save_file({new: tensor for old, tensor in load_file(path).items() if (new := name(old)) is not None}, path)
