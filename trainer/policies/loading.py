"""Diffusers pipelines from disk or hub, with everything frozen and a mistake said in one line."""

from collections.abc import Iterable
from typing import Any

import torch

from trainer.config import ModelConfig
from trainer.errors import ConfigError


def load_pipeline(pipeline_class: Any, config: ModelConfig, *, name: str, device: torch.device) -> Any:
    """Load `config.path` as `pipeline_class`, frozen and in evaluation mode; `name` is what people call the model.

    Raises `ConfigError` when the path holds no such pipeline.
    """
    try:
        pipeline = pipeline_class.from_pretrained(config.path, dtype=getattr(torch, config.dtype))
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"model.path: {config.path!r} holds no {name} pipeline ({reason})") from error
    pipeline.set_progress_bar_config(disable=True)
    pipeline.to(device)
    for module in _modules(pipeline):
        module.eval().requires_grad_(False)
    if config.gradient_checkpointing:
        pipeline.transformer.enable_gradient_checkpointing()
    return pipeline


def _modules(pipeline: Any) -> Iterable[torch.nn.Module]:
    return (part for part in pipeline.components.values() if isinstance(part, torch.nn.Module))
