"""The layers of a pipeline's transformer, from its configuration alone: no weights are read, no memory is taken."""

from collections.abc import Mapping
from typing import Any

import diffusers
import torch

from trainer.errors import ConfigError


def transformer_class(index: Mapping[str, Any], base: str) -> Any:
    """Diffusers' class for the transformer that a `model_index.json` names. Raises `ConfigError` where it has none."""
    library, name = index.get("transformer") or (None, None)
    if library != "diffusers" or name is None or not hasattr(diffusers, name):
        raise ConfigError(f"{base} has no transformer that this version of diffusers knows")
    return getattr(diffusers, name)


def linear_shapes(transformer: Any, base: str) -> dict[str, tuple[int, int]]:
    """Name → (out, in) of every linear layer of the transformer in the pipeline `base`."""
    config = transformer.load_config(base, subfolder="transformer")
    with torch.device("meta"):
        model = transformer.from_config(config)
    return {
        name: (layer.out_features, layer.in_features)
        for name, layer in model.named_modules()
        if isinstance(layer, torch.nn.Linear)
    }
