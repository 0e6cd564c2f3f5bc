"""Diffusers pipelines from disk or hub, with everything frozen and a mistake said in one line."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from trainer.config import ModelConfig
from trainer.errors import ConfigError


def load_pipeline(
    pipeline_class: Any, config: ModelConfig, *, name: str, device: torch.device, without: Sequence[str] = ()
) -> Any:
    """Load `config.path` as `pipeline_class`, frozen and in evaluation mode; `name` is what people call the model.

    The parts named in `without` are not loaded, and need not be there. Raises `ConfigError` when the path holds no such
    pipeline.
    """
    left_out = dict.fromkeys(without)
    try:
        _refuse_other_class(pipeline_class, config.path)
        pipeline = pipeline_class.from_pretrained(config.path, dtype=getattr(torch, config.dtype), **left_out)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"model.path: {config.path!r} holds no {name} pipeline ({reason})") from error
    pipeline.set_progress_bar_config(disable=True)
    pipeline.to(device)
    for module in _modules(pipeline):
        module.eval().requires_grad_(False)
    if config.gradient_checkpointing and pipeline.transformer is not None:
        pipeline.transformer.enable_gradient_checkpointing()
    return pipeline


def _refuse_other_class(pipeline_class: Any, path: str) -> None:
    """Pipelines with the same parts load as one another without a word, and prompt their encoder in another way."""
    found = pipeline_class.load_config(path)["_class_name"]
    if found != pipeline_class.__name__:
        raise ValueError(f"it is a {found}; set model.family accordingly")


def _modules(pipeline: Any) -> Iterable[torch.nn.Module]:
    return (part for part in pipeline.components.values() if isinstance(part, torch.nn.Module))
