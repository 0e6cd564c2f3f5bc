"""The folder of a published adapter: what is in it, and that it is whole or not there.

    pytorch_lora_weights.safetensors   diffusers: pipe.load_lora_weights(directory)
    adapter_config.json                ┐ PEFT, for the transformer alone
    adapter_model.safetensors          ┘
    README.md                          model card

The α/rank scaling travels in the diffusers file's metadata; without it, α is silently taken to be the rank.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from trainer.errors import ConfigError

PEFT_PREFIX = "base_model.model."
PEFT_CONFIG = "adapter_config.json"
PEFT_WEIGHTS = "adapter_model.safetensors"
CARD = "README.md"


@contextmanager
def new_adapter_folder(output: Path) -> Iterator[Path]:
    """A folder to fill; it takes the place of `output` when the block is left in order.

    Raises `ConfigError` when `output` holds other things than an adapter.
    """
    if output.exists() and not (output / PEFT_CONFIG).exists():
        raise ConfigError(f"{output} exists and is not an adapter; choose another directory")
    draft = output.with_name(f".{output.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        yield draft
        shutil.rmtree(output, ignore_errors=True)
        draft.rename(output)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def save_peft_weights(state: Mapping[str, Tensor], directory: Path) -> None:
    """Write `adapter_model.safetensors` of weights by the transformer's own names (`….lora_A.weight`)."""
    prefixed = {f"{PEFT_PREFIX}{name}": value for name, value in state.items()}
    save_file(prefixed, directory / PEFT_WEIGHTS, metadata={"format": "pt"})
