"""What a pipeline's encoders make of an example: computed once, kept on the CPU.

Shape suffixes: B examples, L text tokens, E and C widths of the text and the pooled embeddings.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeAlias

import torch
from torch import Tensor

from trainer.config import ModelConfig
from trainer.data import Example

Row: TypeAlias = Mapping[str, Tensor]
"""One encoded example: tensors by name, each with a leading dimension of 1. What is in it is its policy's business."""

Encode: TypeAlias = Callable[[Example], Row]
"""Loaded encoders at work."""


class LoadEncoders(Protocol):
    """Loads what encodes, and nothing else of a pipeline."""

    def __call__(self, config: ModelConfig, *, device: torch.device) -> Encode:
        """Raises `ConfigError` when the path holds no pipeline of the family."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoders:
    """What a family encodes its examples with, so that `arr prepare` can do it once and for all."""

    load: LoadEncoders
    parts: tuple[str, ...]
    """Components of the pipeline that training does without where the rows are given."""
    prompt_tokenizer: str
    """The component that says how long a prompt is; `max_sequence_length` limits it."""
    always: tuple[Example, ...] = ()
    """What a policy needs beside the examples of its run."""
    num_sources: range = range(1)
    """How many source images an example may have; none by default."""
    sees_resolution: bool = False
    """Whether rows depend on `model.resolution`, as latents of source images do."""


class EncodedExamples:
    """The rows of every example of a run. On the CPU: thousands of them would fill an accelerator."""

    def __init__(self, rows: Mapping[Example, Row]) -> None:
        self._rows = rows

    @classmethod
    def encode(cls, examples: Iterable[Example], encode: Encode) -> Self:
        """Encode each example once."""
        rows = {example: encode(example) for example in dict.fromkeys(examples)}
        return cls({example: {name: tensor.cpu() for name, tensor in row.items()} for example, row in rows.items()})

    def rows(self, examples: Sequence[Example]) -> list[Row]:
        """B rows. Raises `KeyError` for an example that was not encoded."""
        return [self._rows[example] for example in examples]


@dataclass(frozen=True, kw_only=True, slots=True)
class TextConditioning:
    """B encoded prompts, for pipelines that take a sequence and a pooled text embedding and pad without a mask."""

    prompt_embeds_BLE: Tensor
    pooled_embeds_BC: Tensor

    @classmethod
    def of(cls, rows: Sequence[Row], *, device: torch.device) -> Self:
        """Put B rows of `as_row` together."""
        return cls(
            prompt_embeds_BLE=torch.cat([row["prompt_embeds"] for row in rows]).to(device),
            pooled_embeds_BC=torch.cat([row["pooled_embeds"] for row in rows]).to(device),
        )

    def as_row(self) -> Row:
        """The tensors by name."""
        return {"prompt_embeds": self.prompt_embeds_BLE, "pooled_embeds": self.pooled_embeds_BC}
