"""Prompts as pipelines with a sequence and a pooled text embedding take them: encoded once, kept on the CPU.

Shape suffixes: B prompts, L text tokens, E and C widths of the text and the pooled embeddings.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class TextConditioning:
    """B encoded prompts."""

    prompt_embeds_BLE: Tensor
    pooled_embeds_BC: Tensor


class EncodedPrompts:
    """The conditioning of every prompt of a run. On the CPU: thousands of prompts would fill an accelerator."""

    def __init__(self, rows: dict[str, TextConditioning]) -> None:
        self._rows = rows

    @classmethod
    def encode(cls, prompts: Iterable[str], encode: Callable[[str], TextConditioning]) -> Self:
        """Encode each prompt once."""
        rows = {prompt: encode(prompt) for prompt in dict.fromkeys(prompts)}
        return cls(
            {
                prompt: TextConditioning(
                    prompt_embeds_BLE=row.prompt_embeds_BLE.cpu(), pooled_embeds_BC=row.pooled_embeds_BC.cpu()
                )
                for prompt, row in rows.items()
            }
        )

    def of(self, prompts: Sequence[str], *, device: torch.device) -> TextConditioning:
        """B rows. Raises `KeyError` for a prompt that was not encoded."""
        rows = [self._rows[prompt] for prompt in prompts]
        return TextConditioning(
            prompt_embeds_BLE=torch.cat([row.prompt_embeds_BLE for row in rows]).to(device),
            pooled_embeds_BC=torch.cat([row.pooled_embeds_BC for row in rows]).to(device),
        )
