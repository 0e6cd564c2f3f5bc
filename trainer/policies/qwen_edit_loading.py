"""Loading Qwen-Image-Edit and Qwen-Image-Edit-2509: the encoders alone, then all but them."""

from collections.abc import Sequence

import torch

from trainer.config import ModelConfig
from trainer.data import Example
from trainer.policies.encoded_examples import Encode, EncodedExamples
from trainer.policies.loading import load_pipeline
from trainer.policies.qwen_edit import EditFamily, QwenEditPolicy, encode_edit
from trainer.policies.qwen_processor import QwenImageProcessor

ENCODER_PARTS = ("text_encoder", "tokenizer", "processor")
"""What training does without. The autoencoder's encoder stays, with 0.1 GB: the self-check encodes a source anew."""


def load_edit_policy(
    family: EditFamily,
    config: ModelConfig,
    *,
    examples: Sequence[Example],
    device: torch.device,
    encoded: EncodedExamples | None = None,
) -> QwenEditPolicy:
    """Load a pipeline; the text encoder comes and goes before it, or not at all where `encoded` is given.

    The adapter is attached apart. Raises `ConfigError` when the path holds no such pipeline.
    """
    if encoded is None:
        encoded = EncodedExamples.encode(examples, load_edit_encoders(family, config, device=device))
    pipeline = load_pipeline(family.pipeline_class, config, name=family.name, device=device, without=ENCODER_PARTS)
    return QwenEditPolicy(pipeline, config, encoded, family)


def load_edit_encoders(family: EditFamily, config: ModelConfig, *, device: torch.device) -> Encode:
    """Load the vision-language encoder and the autoencoder. Raises `ConfigError` for a path without such a pipeline."""
    without = ("transformer", "processor")
    pipeline = load_pipeline(family.pipeline_class, config, name=family.name, device=device, without=without)
    pipeline.processor = QwenImageProcessor.from_pretrained(config.path, subfolder="processor")
    return lambda example: encode_edit(pipeline, family, example, config)
