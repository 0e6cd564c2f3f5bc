"""The policies of Qwen-Image-Edit and Qwen-Image-Edit-2509 against the real diffusers pipelines they drive."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import QwenImageEditPipeline, QwenImageEditPlusPipeline
from PIL import Image

from arr.demo.tiny_qwen_edit import build_random_tiny_qwen_edit
from trainer.config import ModelConfig, TrainConfig
from trainer.data import Example, SourceFiles, SourceImage, open_source, source_size
from trainer.errors import ConfigError
from trainer.policies import load_policy, lora
from trainer.policies.encoded_examples import EncodedExamples
from trainer.policies.lora import trainable_parameters
from trainer.policies.qwen_edit import EqualSources, QwenEditPolicy
from trainer.policies.qwen_image_edit import QWEN_IMAGE_EDIT_ENCODERS, load_qwen_image_edit
from trainer.policies.qwen_image_edit_plus import load_qwen_image_edit_plus
from trainer.rollout import mean_of_step, sample_deterministic, sample_rollout
from trainer.self_check import check_policy

CPU = torch.device("cpu")
LOADERS = {"qwen_image_edit": load_qwen_image_edit, "qwen_image_edit_plus": load_qwen_image_edit_plus}
PIPELINES = {"qwen_image_edit": QwenImageEditPipeline, "qwen_image_edit_plus": QwenImageEditPlusPipeline}
FAMILIES = tuple(LOADERS)

PUBLISHED_TARGETS = (
    *("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0"),
    *("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj", "attn.to_add_out"),
)
"""Of the adapters that were published with the paper."""

MakeConfig = Callable[..., TrainConfig]
Encoded = Callable[..., EncodedExamples]
Edits = dict[str, tuple[Example, ...]]


@pytest.fixture
def load(make_edit_config: MakeConfig, encoded_edits: Encoded) -> Callable[..., QwenEditPolicy]:
    """`load("qwen_image_edit", true_cfg_scale=1.0)`, with a fresh adapter, from rows that are at hand."""

    def load_one(family: str, *, targets: Any = "all-linear", **model: object) -> QwenEditPolicy:
        config = make_edit_config(family, model=model)
        rows = encoded_edits(family, dtype=config.model.dtype)
        policy = LOADERS[family](config.model, examples=(), device=CPU, encoded=rows)
        lora.attach_lora(policy.transformer, rank=4, alpha=8, targets=targets, seed=0)
        return policy

    return load_one


def _latents(policy: QwenEditPolicy, count: int) -> torch.Tensor:
    return torch.randn(count, *policy.latent_shape, generator=torch.Generator().manual_seed(0))


def _nudge(policy: QwenEditPolicy) -> None:
    with torch.no_grad():
        for parameter in trainable_parameters(policy.transformer):
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.05)


def _pipeline(family: str, path: str) -> Any:
    pipe = PIPELINES[family].from_pretrained(path)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _drawn(family: str, pipe: Any, example: Example, latents_ND: torch.Tensor, **arguments: Any) -> torch.Tensor:
    """What somebody who knows nothing of this project gets for the prompt and the files."""
    pictures = [open_source(source) for source in example.sources]
    image = pictures if family == "qwen_image_edit_plus" else pictures[0]
    size = {"height": 128, "width": 128, "num_inference_steps": 4, "output_type": "pt"}
    images: torch.Tensor = pipe(image, example.prompt, latents=latents_ND[None], **size, **arguments).images
    return images


def _velocity(policy: QwenEditPolicy, examples: Sequence[Example], latents: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return policy.velocity(latents, 0, policy.conditioning(examples))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("scale", "guidance"),
    [(1.0, {"true_cfg_scale": 1.0}), (4.0, {"true_cfg_scale": 4.0, "negative_prompt": " "})],
    ids=["plain", "guided"],
)
def test_the_deterministic_rollout_draws_the_pipelines_own_image(
    family: str, scale: float, guidance: dict[str, Any], load: Callable[..., QwenEditPolicy],
    make_edit_config: MakeConfig, edits: Edits,
) -> None:  # fmt: skip
    policy, examples = load(family, true_cfg_scale=scale), edits[family][: 3 if scale > 1 else 1]
    latents = _latents(policy, len(examples))
    ours = sample_deterministic(policy, latents, policy.conditioning(examples))
    pipe = _pipeline(family, make_edit_config(family).model.path)
    theirs = [_drawn(family, pipe, *pair, **guidance) for pair in zip(examples, latents, strict=True)]
    torch.testing.assert_close(ours, torch.cat(theirs), atol=1e-4, rtol=0)
    assert len(ours) == 1 or (ours[0] - ours[1]).abs().max() > 1e-3  # what is compared depends on what it is made for


def test_the_real_autoencoders_scale_makes_no_difference(
    tmp_path: Path, make_edit_config: MakeConfig, edits: Edits
) -> None:
    # 8 times smaller, as the real one: 4,176 tokens of source behind the 4 that are drawn.
    build_random_tiny_qwen_edit(tmp_path / "model", downsamplings=3)
    model = {"path": str(tmp_path / "model"), "resolution": 32, "num_inference_steps": 2}
    example = edits["qwen_image_edit"][0]
    policy = load_policy(make_edit_config("qwen_image_edit", model=model), examples=(example,), device=CPU)
    latents, conditioning = torch.randn(1, 4, 64), policy.conditioning((example,))
    assert conditioning.rows[0]["source_latents"].shape == (1, 58 * 72, 64)
    ours, theirs = sample_deterministic(policy, latents, conditioning), policy.pipeline_images(latents, conditioning)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_bfloat16_model_draws_the_pipelines_image_up_to_rounding(
    family: str, load: Callable[..., QwenEditPolicy], edits: Edits
) -> None:
    # Ours keeps latents in float32 between the steps; measured: 0.012, three bfloat16 steps of a grey pixel.
    policy, examples = load(family, dtype="bfloat16"), edits[family][:1]
    latents, conditioning = _latents(policy, 1), policy.conditioning(examples)
    ours, theirs = sample_deterministic(policy, latents, conditioning), policy.pipeline_images(latents, conditioning)
    assert (ours - theirs).abs().max() <= 0.03


@pytest.mark.parametrize("family", FAMILIES)
def test_rope_length_is_the_padded_width_so_a_batch_equals_each_example_alone(
    family: str, load: Callable[..., QwenEditPolicy], edits: Edits
) -> None:
    policy, examples = load(family), edits[family]
    latents, together = _latents(policy, 3), policy.conditioning(examples)
    masks = [part.prompt.mask_BL for part in together.parts]
    assert [mask is not None for mask in masks] == [True, False]  # two that need padding, and one of another shape
    alone = [_velocity(policy, [example], latents[[row]]) for row, example in enumerate(examples)]
    torch.testing.assert_close(_velocity(policy, examples, latents), torch.cat(alone), atol=1e-5, rtol=1e-5)


def test_sources_of_another_shape_in_a_batch_find_their_way_back_to_their_rows(
    load: Callable[..., QwenEditPolicy], edits: Edits
) -> None:
    policy, (wide, wide_too, square) = load("qwen_image_edit"), edits["qwen_image_edit"]
    latents, examples = _latents(policy, 4), (wide, square, wide_too, square)
    conditioning = policy.conditioning(examples)
    assert [part.positions_B.tolist() for part in conditioning.parts] == [[0, 2], [1, 3]]
    assert [part.source_shapes for part in conditioning.parts] == [((14, 18),), ((16, 16),)]
    alone = [_velocity(policy, [example], latents[[row]]) for row, example in enumerate(examples)]
    torch.testing.assert_close(_velocity(policy, examples, latents), torch.cat(alone), atol=1e-5, rtol=1e-5)


def test_padding_is_not_attended_to(load: Callable[..., QwenEditPolicy], edits: Edits) -> None:
    policy, examples = load("qwen_image_edit", true_cfg_scale=1.0), edits["qwen_image_edit"][:2]
    latents, conditioning = _latents(policy, 2), policy.conditioning(examples)
    with torch.no_grad():
        before = policy.velocity(latents, 0, conditioning)
        (part,) = conditioning.parts
        assert part.prompt.mask_BL is not None
        part.prompt.embeds_BLE[~part.prompt.mask_BL] = 100.0
        torch.testing.assert_close(policy.velocity(latents, 0, conditioning), before, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_cfg_is_not_silently_lost(family: str, load: Callable[..., QwenEditPolicy], edits: Edits) -> None:
    # Every token of the guided velocity is w · c/|w| with w = n + g·(p − n) and c = |p|; p and n by hand.
    examples = edits[family][2:]
    guided, plain = load(family, true_cfg_scale=4.0), load(family, true_cfg_scale=1.0)
    latents = _latents(guided, 1)
    towards = _velocity(plain, examples, latents)
    (row,) = guided.conditioning(examples).rows
    row = {**row, "prompt_embeds": row["negative_embeds"]}
    conditioning = plain.conditioning(examples)
    as_prompt = EqualSources.of([row], [0], is_guided=False, device=CPU)
    with torch.no_grad():
        away = plain.velocity(latents, 0, type(conditioning)(examples=examples, rows=(row,), parts=(as_prompt,)))
    combined = away + 4.0 * (towards - away)
    expected = combined * towards.norm(dim=-1, keepdim=True) / combined.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(_velocity(guided, examples, latents), expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(expected, towards, atol=1e-3)


def test_train_and_deploy_cfg_cannot_differ(
    load: Callable[..., QwenEditPolicy], make_edit_config: MakeConfig, edits: Edits
) -> None:
    # What the pipeline is called with for the self-check is what the policy samples with: a mismatch is seen at step 0.
    policy, examples = load("qwen_image_edit", true_cfg_scale=4.0), edits["qwen_image_edit"][2:]
    latents, conditioning = _latents(policy, 1), policy.conditioning(examples)
    theirs = policy.pipeline_images(latents, conditioning)
    other = load("qwen_image_edit", true_cfg_scale=1.5)
    assert (sample_deterministic(other, latents, other.conditioning(examples)) - theirs).abs().max() > 2e-3
    with pytest.raises(ValueError, match=r"guidance_scale has no effect on qwen_image_edit; .* true_cfg_scale"):
        make_edit_config("qwen_image_edit", model={"guidance_scale": 4.0})
    with pytest.raises(ValueError, match=r"true_cfg_scale has no effect on sd3; .* guidance_scale"):
        ModelConfig(family="sd3", path="x", true_cfg_scale=2.0)


@pytest.mark.parametrize("family", FAMILIES)
def test_everything_is_in_evaluation_mode_and_stays_there_while_training(
    family: str, load: Callable[..., QwenEditPolicy], edits: Edits
) -> None:
    policy = load(family)
    policy.velocity(_latents(policy, 1), 0, policy.conditioning(edits[family][:1])).sum().backward()
    assert not any(module.training for module in policy.transformer.modules() if not list(module.children()))
    assert not policy._pipeline.vae.training


def test_the_transformer_sees_the_schedulers_float_timesteps_rounded_to_its_dtype(
    load: Callable[..., QwenEditPolicy], edits: Edits
) -> None:
    for dtype in ("float32", "bfloat16"):
        policy = load("qwen_image_edit", dtype=dtype, true_cfg_scale=1.0)
        seen: list[torch.Tensor] = []
        policy.transformer.register_forward_pre_hook(
            lambda module, args, kwargs, seen=seen: seen.append(kwargs["timestep"]), with_kwargs=True
        )
        policy.velocity(_latents(policy, 1), 1, policy.conditioning(edits["qwen_image_edit"][:1]))
        exact = torch.tensor([1000 * policy.sigmas[1]])
        assert seen[0].tolist() == (exact.to(getattr(torch, dtype)) / 1000).tolist()
        assert exact.item() != int(exact.item())


def test_dynamic_shift_follows_the_number_of_tokens_that_are_drawn(
    load: Callable[..., QwenEditPolicy], make_edit_config: MakeConfig, edits: Edits
) -> None:
    sigmas = {pixels: load("qwen_image_edit", resolution=pixels).sigmas for pixels in (128, 512)}
    assert sigmas[128] != sigmas[512]
    pipe = _pipeline("qwen_image_edit", make_edit_config("qwen_image_edit").model.path)
    _drawn("qwen_image_edit", pipe, edits["qwen_image_edit"][0], torch.zeros(4, 64), true_cfg_scale=1.0)
    assert sigmas[128] == pytest.approx(pipe.scheduler.sigmas.tolist(), abs=1e-7)


@pytest.mark.parametrize("family", FAMILIES)
def test_it_passes_the_checks_that_every_run_begins_with(
    family: str, make_edit_config: MakeConfig, load: Callable[..., QwenEditPolicy], edits: Edits
) -> None:
    config = make_edit_config(family, rollout={"prompts_per_step": 3, "micro_batches": 1})
    rollout = check_policy(load(family), config, examples=edits[family], is_fresh=True)
    assert rollout.images_B3HW.shape == (6, 3, 128, 128)


@pytest.mark.parametrize("targets", ["all-linear", PUBLISHED_TARGETS], ids=["all-linear", "published"])
def test_the_gradient_reaches_every_layer_of_the_adapter(
    targets: Any, make_edit_config: MakeConfig, load: Callable[..., QwenEditPolicy], edits: Edits
) -> None:
    config = make_edit_config("qwen_image_edit", model={"true_cfg_scale": 4.0, "gradient_checkpointing": True})
    policy = load("qwen_image_edit", targets=targets, gradient_checkpointing=True)
    _nudge(policy)
    rollout = sample_rollout(policy, edits["qwen_image_edit"], config=config.rollout, seed=0, step=0, first_group=0)
    mean_of_step(policy, rollout.steps[0], rollout.conditioning, config.rollout).square().sum().backward()
    trained = {name: each.grad for name, each in policy.transformer.named_parameters() if each.requires_grad}
    without = {name for name, gradient in trained.items() if gradient is None or not gradient.abs().max() > 0}
    # The last block's text stream ends in nothing; its text still asks and answers in that block's attention.
    assert all(
        "transformer_blocks.1" in name and ("txt_mlp" in name or "to_add_out" in name or "add_q" in name)
        for name in without
    ), without
    if targets == PUBLISHED_TARGETS:
        assert {name.split(".", 2)[2].split(".lora_")[0] for name in trained} == set(PUBLISHED_TARGETS)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_exported_adapter_draws_the_same_images_in_a_fresh_pipeline(
    family: str, load: Callable[..., QwenEditPolicy], make_edit_config: MakeConfig, edits: Edits, tmp_path: Path
) -> None:
    policy, examples = load(family), edits[family][:1]
    latents = _latents(policy, 1)
    base = sample_deterministic(policy, latents, policy.conditioning(examples))
    _nudge(policy)
    ours = sample_deterministic(policy, latents, policy.conditioning(examples))
    with policy.adapter_off():
        assert torch.equal(sample_deterministic(policy, latents, policy.conditioning(examples)), base)
    policy.save_for_diffusers(tmp_path)
    pipe = _pipeline(family, make_edit_config(family).model.path)
    pipe.load_lora_weights(tmp_path)
    theirs = _drawn(family, pipe, examples[0], latents[0], true_cfg_scale=4.0, negative_prompt=" ")
    torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=0)
    assert not torch.allclose(ours, base, atol=1e-3)


def test_the_encoders_are_let_go_and_rows_stay_on_the_cpu(load: Callable[..., QwenEditPolicy], edits: Edits) -> None:
    policy = load("qwen_image_edit")
    for part in QWEN_IMAGE_EDIT_ENCODERS.parts:
        assert getattr(policy._pipeline, part) is None
    row = policy.conditioning(edits["qwen_image_edit"][:1]).rows[0]
    assert set(row) == {"prompt_embeds", "negative_embeds", "source_latents", "source_shapes"}
    assert all(tensor.shape[0] == 1 for tensor in row.values())


def test_a_picture_on_its_side_is_turned_upright_and_transparency_dropped(tmp_path: Path) -> None:
    picture, exif = Image.new("RGBA", (30, 20)), Image.Exif()
    exif[0x0112] = 6  # orientation: turn by 90°
    picture.save(tmp_path / "turned.png", exif=exif)
    source = SourceFiles().of_file(tmp_path / "turned.png")
    opened = open_source(source)
    assert (opened.mode, opened.size) == ("RGB", (20, 30))
    assert source_size(source) == opened.size


def test_a_model_of_one_source_takes_no_other_number(make_edit_config: MakeConfig, edits: Edits) -> None:
    config, several = make_edit_config("qwen_image_edit"), edits["qwen_image_edit_plus"][:1]
    for examples, number in ((several, 2), ((Example("a red circle"),), 0)):
        with pytest.raises(ConfigError, match=f"takes 1 source images, and 'a red circle' has {number}"):
            load_policy(config, examples=examples, device=CPU)


def test_a_model_without_sources_takes_none(make_config: MakeConfig, edits: Edits) -> None:
    with pytest.raises(ConfigError, match="'flux' takes 0 source images"):
        load_policy(make_config(), examples=edits["qwen_image_edit"], device=CPU)


@pytest.mark.parametrize(("family", "other"), [FAMILIES, FAMILIES[::-1]])
def test_the_one_is_not_taken_for_the_other(family: str, other: str, make_edit_config: MakeConfig) -> None:
    config = make_edit_config(family, model={"path": make_edit_config(other).model.path})
    with pytest.raises(ConfigError, match=f"it is a {PIPELINES[other].__name__}; set model.family"):
        load_policy(config, examples=(), device=CPU)


def test_a_resolution_that_is_no_whole_number_of_tokens_is_refused(make_edit_config: MakeConfig) -> None:
    with pytest.raises(ConfigError, match=r"model\.resolution: 80 is not a multiple of 64"):
        load_policy(make_edit_config("qwen_image_edit", model={"resolution": 80}), examples=(), device=CPU)


def test_an_instruction_that_is_too_long_is_refused_with_its_length(
    make_edit_config: MakeConfig, pictures: dict[str, SourceImage]
) -> None:
    config = make_edit_config("qwen_image_edit", model={"max_sequence_length": 8})
    with pytest.raises(ConfigError, match=r"has 11 tokens, and the encoder reads 8 \(model.max_sequence_length\)"):
        load_policy(config, examples=(Example("a red circle " * 3 + "a red", (pictures["wide"],)),), device=CPU)


def test_a_source_of_an_impossible_shape_is_named(make_edit_config: MakeConfig, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((1, 5000, 3), dtype=np.uint8)).save(tmp_path / "line.png")
    example = Example("a red circle", (SourceFiles().of_file(tmp_path / "line.png"),))
    with pytest.raises(ConfigError, match=r"line\.png cannot be encoded"):
        load_policy(make_edit_config("qwen_image_edit"), examples=(example,), device=CPU)


def test_a_source_that_ends_halfway_is_named(make_edit_config: MakeConfig, tmp_path: Path) -> None:
    path = tmp_path / "half.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    example = Example("a red circle", (SourceFiles().of_file(path),))
    with pytest.raises(ConfigError, match=r"half\.png cannot be read"):
        load_policy(make_edit_config("qwen_image_edit"), examples=(example,), device=CPU)
