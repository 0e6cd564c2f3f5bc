"""From an adapter published in PEFT's layout to one that diffusers loads, too.

Diffusers 0.42 cannot load PEFT's folder into FLUX, and forgets α where it can load the weights. Owns the renaming and
the refusals; the folder is `adapter_folder`'s. The one rule: what would draw other images than PEFT does is refused by
name.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers import DiffusionPipeline
from diffusers.loaders import FluxLoraLoaderMixin
from peft import LoraConfig, PeftConfig
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from trainer.adapter_folder import CARD, PEFT_CONFIG, PEFT_PREFIX, PEFT_WEIGHTS, new_adapter_folder, save_peft_weights
from trainer.errors import ConfigError
from trainer.transformer_shapes import linear_shapes, transformer_class

_KEY = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])\.weight")

_REFUSED = (
    *("use_dora", "use_qalora", "use_bdlora", "lora_bias", "modules_to_save", "layer_replication"),
    *("target_parameters", "trainable_token_indices", "alora_invocation_tokens", "arrow_config", "kasa_config"),
    "monteclora_config",
)
"""Kinds of LoRA that add more than B·A to a layer, or to other things than layers."""

_PLAIN_STARTS = (True, False, "gaussian")
"""`init_lora_weights` that leave the base weights alone; with PiSSA and its like, B·A is for another base."""


def convert_peft(source: Path, output: Path, *, base: str | None = None) -> Path:
    """Write the PEFT adapter in `source` as a folder that loads both ways; returns `output`.

    `base` is the pipeline (directory or hub id) that the adapter is for; with it, every layer is looked up there by
    name and shape. No weights of it are loaded. Rank-stabilised scaling and ranks and alphas of single layers are kept.
    Raises `ConfigError` for what is no PEFT folder, is no plain LoRA, or does not fit the base.
    """
    if output.resolve() == source.resolve():
        raise ConfigError(f"{output} is the adapter itself; choose another directory")
    config = _read_config(source)
    state = _read_state(source / PEFT_WEIGHTS)
    _refuse_incomplete(state, config)
    if base is not None:
        _refuse_other_base(state, config, base)
    with new_adapter_folder(output) as draft:
        # The format is the same for every pipeline with one transformer; any of their mixins writes it.
        FluxLoraLoaderMixin.save_lora_weights(
            draft, transformer_lora_layers=dict(state), transformer_lora_adapter_metadata=_metadata(config, state)
        )
        config.save_pretrained(draft)
        save_peft_weights(state, draft)
        (draft / CARD).write_text(_card(config, base or config.base_model_name_or_path))
    return output


def _read_config(source: Path) -> LoraConfig:
    if not (source / PEFT_CONFIG).is_file():
        raise ConfigError(f"{source} is no PEFT adapter: there is no {PEFT_CONFIG}{_hint(source)}")
    try:
        config = PeftConfig.from_pretrained(source)
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{source / PEFT_CONFIG} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(config, LoraConfig):
        raise ConfigError(f"{source} is an adapter of type {config.peft_type}; only LORA can be converted")
    if refused := [name for name in _REFUSED if getattr(config, name, None)]:
        raise ConfigError(f"{source} has {refused[0]}; only plain LoRA can be converted")
    if config.bias != "none" or config.init_lora_weights not in _PLAIN_STARTS:
        name = "bias" if config.bias != "none" else "init_lora_weights"
        raise ConfigError(f"{source} has {name} = {getattr(config, name)!r}; only plain LoRA can be converted")
    return config


def _hint(source: Path) -> str:
    if not source.is_dir():
        return ", nor such a folder"
    if (source / "pytorch_lora_weights.safetensors").is_file():
        return "; pipe.load_lora_weights takes it as it is"
    if inner := sorted(path.parent for path in source.glob(f"*/{PEFT_CONFIG}")):
        return f"; name the folder of one adapter, {inner[0]}"
    return ""


def _read_state(path: Path) -> dict[str, Tensor]:
    """Weights by the transformer's own names."""
    if not path.is_file():
        raise ConfigError(f"{path.parent} has no {PEFT_WEIGHTS}; pickled weights are not read: save it as safetensors")
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    return {name.removeprefix(PEFT_PREFIX).removeprefix("transformer."): tensor for name, tensor in state.items()}


def _modules(state: Mapping[str, Tensor]) -> list[str]:
    return sorted({name.rpartition(".lora_")[0] for name in state})


def _refuse_incomplete(state: Mapping[str, Tensor], config: LoraConfig) -> None:
    """Raise `ConfigError` unless every layer has an A and a B, of one rank."""
    if strange := [name for name in state if not _KEY.fullmatch(name)]:
        raise ConfigError(f"the adapter has the weight {strange[0]}, which is none of a plain LoRA")
    if not state:
        raise ConfigError("the adapter has no weights")
    for module in _modules(state):
        a, b = state.get(f"{module}.lora_A.weight"), state.get(f"{module}.lora_B.weight")
        if a is None or b is None:
            raise ConfigError(f"the adapter has only one of the two weights of {module}")
        if a.shape[0] != b.shape[1] or (not config.rank_pattern and a.shape[0] != config.r):
            raise ConfigError(f"{module} has rank {a.shape[0]}; {PEFT_CONFIG} says {config.r}")


def _refuse_other_base(state: Mapping[str, Tensor], config: LoraConfig, base: str) -> None:
    """Raise `ConfigError` unless the base's transformer has every layer of the adapter, in its shape."""
    try:
        index: Mapping[str, Any] = DiffusionPipeline.load_config(base)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--base: {base!r} holds no diffusers pipeline") from error
    transformer = transformer_class(index, base)
    trained_on = (config.auto_mapping or {}).get("base_model_class")
    if trained_on not in (None, transformer.__name__):
        raise ConfigError(f"the adapter is for a {trained_on}; {base} has a {transformer.__name__}")
    _refuse_other_layers(state, linear_shapes(transformer, base), base)


def _refuse_other_layers(state: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, int]], base: str) -> None:
    modules, unfit = _modules(state), f"{base} is not what the adapter is for"
    if missing := [module for module in modules if module not in shapes]:
        raise ConfigError(f"{unfit}: it lacks {len(missing)} of {len(modules)} layers, such as {missing[0]}")
    for module in modules:
        ours = (state[f"{module}.lora_B.weight"].shape[0], state[f"{module}.lora_A.weight"].shape[1])
        if ours != shapes[module]:
            raise ConfigError(f"{unfit}: {module} is {shapes[module]} there and {ours} in the adapter")


def _metadata(config: LoraConfig, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The configuration for diffusers, with the very layers in place of the patterns that chose them."""
    chosen = {"target_modules": _modules(state), "exclude_modules": None, "layers_to_transform": None}
    return {**config.to_dict(), **chosen, "layers_pattern": None}


def _card(config: LoraConfig, base: str | None) -> str:
    model = base or "the model it was trained on"
    header = f"---\nlibrary_name: diffusers\nbase_model: {base}\ntags: [lora]\n---\n\n" if base else ""
    scaling = "alpha / √rank" if config.use_rslora else "alpha / rank"
    return (
        f"{header}# LoRA adapter\n\nConverted from PEFT's layout; the weights are unchanged. Rank {config.r}, alpha "
        f"{config.lora_alpha}, scaled by {scaling}.\n\n## Use\n\n```python\n"
        "import torch\nfrom diffusers import DiffusionPipeline\n\n"
        f'pipe = DiffusionPipeline.from_pretrained("{model}", dtype=torch.bfloat16)\n'
        'pipe.load_lora_weights("path/to/this/directory")\n```\n'
    )
