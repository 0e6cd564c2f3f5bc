"""From a checkpoint to an adapter that others can load: one directory, both layouts (see `adapter_folder`).

Its model card names base, rubric and judge, and has the curve and the lines that use the adapter.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch

from shared_schemas.rubrics import RubricContent
from trainer.adapter_folder import CARD, new_adapter_folder, save_peft_weights
from trainer.checkpoint import Checkpoint, CheckpointStore
from trainer.config import ModelConfig, TrainConfig
from trainer.errors import ConfigError
from trainer.policies import load_policy, lora

_PIPELINES = {
    "flux": "FluxPipeline",
    "sd3": "StableDiffusion3Pipeline",
    "qwen_image_edit": "QwenImageEditPipeline",
    "qwen_image_edit_plus": "QwenImageEditPlusPipeline",
    "z_image": "ZImagePipeline",
}
"""Model family → diffusers' class."""


Which: TypeAlias = Literal["newest", "best"]
"""Which checkpoint of a run; `best` is the one that the held-out judge liked best."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RubricText:
    """The rubric the adapter was trained on, for the model card."""

    reference: str
    content: RubricContent


def export_run(
    config: TrainConfig,
    output: Path,
    *,
    rubric: RubricText | None = None,
    last: bool = False,
    which: Which = "newest",
) -> Path:
    """Write a checkpoint of a run as a loadable adapter, temp-then-rename; returns `output`.

    Where the run keeps an average of its weights, that is what is written, unless `last` asks for the last ones.
    Raises `ConfigError` when the run has no such checkpoint or was started with another recipe or rubric (a wrong α
    would scale the adapter wrongly without a word), the model cannot be loaded, or `output` holds other things.
    """
    checkpoint = _checkpoint(config, which)
    checkpoint.state.refuse_other_recipe(config.shaping_values())
    if rubric is not None and rubric.content.digest != checkpoint.state.rubric_digest:
        raise ConfigError(f"{rubric.reference} is not what the run was rewarded by; name that version in reward.rubric")
    with new_adapter_folder(output) as draft:
        policy = load_policy(config, examples=(), device=torch.device("cpu"))
        policy.load_adapter_state(checkpoint.adapter if last or checkpoint.ema is None else checkpoint.ema)
        policy.save_for_diffusers(draft)
        lora.peft_config(policy.transformer).save_pretrained(draft)
        save_peft_weights(policy.adapter_state(), draft)
        (draft / CARD).write_text(model_card(config, checkpoint, rubric=rubric))
    return output


def _checkpoint(config: TrainConfig, which: Which) -> Checkpoint:
    store = CheckpointStore(config.output_dir / "checkpoints", keep=config.checkpoint.keep)
    newest = store.newest()
    if newest is None:
        raise ConfigError(f"{config.output_dir} holds no checkpoint yet; train first")
    if which == "newest":
        return newest
    best = store.best()
    if best is None:
        raise ConfigError(
            f"{config.output_dir} holds no best checkpoint: no held-out judge (evaluation.held_out_rubric, "
            "evaluation.held_out_url) liked one better than the base; export the newest"
        )
    return best


def usage_lines(config: TrainConfig, adapter: str) -> str:
    """The lines that draw an image with the adapter; size, steps and guidance are the ones it was trained with."""
    model, pipeline = config.model, _PIPELINES[config.model.family]
    loads = "from diffusers.utils import load_image\n" if model.is_edit else ""
    return (
        "import torch\n"
        f"from diffusers import {pipeline}\n{loads}\n"
        f'pipe = {pipeline}.from_pretrained("{model.path}", dtype=torch.{model.dtype})\n'
        f'pipe.load_lora_weights("{adapter}")\n'
        "image = pipe(\n" + "".join(f"    {argument},\n" for argument in _call_arguments(model)) + ").images[0]\n"
    )


def _call_arguments(model: ModelConfig) -> list[str]:
    size = [f"height={model.resolution}", f"width={model.resolution}"]
    steps = f"num_inference_steps={model.num_inference_steps}"
    if not model.is_edit:
        guidance = f"guidance_scale={model.guidance_scale}"
        return ['"your prompt"', *size, steps, guidance, f"max_sequence_length={model.max_sequence_length}"]
    away = [] if model.used_negative_prompt is None else [f"negative_prompt={json.dumps(model.used_negative_prompt)}"]
    guidance = f"true_cfg_scale={model.true_cfg_scale}"
    return ['load_image("before.png")', '"your instruction"', *size, steps, guidance, *away]


def model_card(config: TrainConfig, checkpoint: Checkpoint, *, rubric: RubricText | None) -> str:
    """Markdown: what the adapter is, what it was rewarded for, and how to use it."""
    state, tag = checkpoint.state, "grpo" if _is_grpo(config) else "rpo"
    kind = "image-to-image" if config.model.is_edit else "text-to-image"
    header = f"---\nlibrary_name: diffusers\nbase_model: {config.model.path}\ntags: [lora, {kind}, {tag}]\n---\n"
    facts = (
        f"| base model | `{config.model.path}` |\n|---|---|\n"
        f"| steps | {state.step} |\n"
        f"| LoRA | rank {config.lora.rank}, alpha {config.lora.alpha} |\n"
        f"| rubric | `{config.reward.rubric}`, digest `{state.rubric_digest}` |\n"
        f"| judge fingerprint | `{state.judge_fingerprint}` |\n"
    )
    sections = [
        header,
        f"# {config.output_dir.name}\n",
        _method_line(config),
        facts,
        f"## Use\n\n```python\n{usage_lines(config, 'path/to/this/directory')}```\n",
        _rubric_section(rubric),
        _curve_section(config.output_dir / "metrics.jsonl"),
    ]
    return "\n".join(section for section in sections if section)


def _is_grpo(config: TrainConfig) -> bool:
    """Whether advantages are measured against the spread of their group, or of the step."""
    return config.loss.scale != "none"


def _method_line(config: TrainConfig) -> str:
    if _is_grpo(config):
        return "A LoRA adapter trained on rubric rewards relative to their group (Flow-GRPO, arXiv 2505.05470).\n"
    return "A LoRA adapter trained with Rubric Policy Optimization (RPO, arXiv 2605.08354).\n"


def _rubric_section(rubric: RubricText | None) -> str:
    if rubric is None:
        return ""
    lines = [f"## What it was rewarded for\n\n`{rubric.reference}`\n"]
    for criterion in rubric.content.criteria:
        weight = "" if criterion.weight == 1.0 else f" (weight {criterion.weight:.3g})"
        lines.append(f"* **{criterion.theme}**{weight}")
        lines.extend(f"  * {tip}" for tip in criterion.tips)
    return "\n".join(lines) + "\n"


def _curve_section(metrics: Path) -> str:
    if not metrics.exists():
        return ""
    records: list[dict[str, Any]] = [json.loads(line) for line in metrics.read_text().splitlines()]
    rows = [
        f"| {record['step']} | {record['overall']['win_rate']:.3f} "
        f"| {record['overall']['low']:.3f} – {record['overall']['high']:.3f} |"
        for record in records
        if record["kind"] == "evaluation"
    ]
    if not rows:
        return ""
    return (
        "\n".join(["## Win rate against the base\n", "| step | win rate | 95 % interval |", "|---|---|---|", *rows])
        + "\n"
    )
