"""Prompts that an encoder would cut off: refused before any weight is loaded.

The judge reads the whole prompt, so a model that never saw its end would be paid for chance. FLUX's and SD3's CLIPs
take 77 tokens by design and are not asked: T5 beside them reads on.
"""

from collections.abc import Sequence
from typing import Any

from diffusers import DiffusionPipeline
from transformers import AutoTokenizer

from trainer.config import ModelConfig
from trainer.data import Example
from trainer.errors import ConfigError

_BATCH = 1000
"""Prompts per call of the tokenizer."""


def refuse_long_prompts(config: ModelConfig, examples: Sequence[Example], *, tokenizer: str) -> None:
    """Raise `ConfigError` for the first prompt of more than `max_sequence_length` tokens, those at its end included.

    `tokenizer` is the pipeline's component that counts. Where there is none nothing is cut off, and where there is no
    pipeline the one who loads it says so.
    """
    limit = config.max_sequence_length
    prompts = list(dict.fromkeys(example.prompt for example in examples))
    tokens = _tokenizer(config.path, tokenizer)
    if tokens is None:
        return
    for first in range(0, len(prompts), _BATCH):
        batch = prompts[first : first + _BATCH]
        for prompt, ids in zip(batch, tokens(batch, verbose=False).input_ids, strict=True):
            if len(ids) > limit:
                raise ConfigError(
                    f"the prompt {prompt[:60]!r}… has {len(ids)} tokens, and the encoder reads {limit} "
                    "(model.max_sequence_length); shorten it, or leave it out"
                )


def _tokenizer(path: str, name: str) -> Any | None:
    try:
        parts = DiffusionPipeline.load_config(path)
        return AutoTokenizer.from_pretrained(path, subfolder=name) if parts.get(name, [None])[0] else None
    except (OSError, ValueError):
        return None
