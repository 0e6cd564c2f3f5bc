"""Qwen-Image-Edit-2509: one to eight sources, as `QwenImageEditPlusPipeline` resizes them.

The vision-language encoder sees each at 384² pixels, the transformer its latents at 1024². The model was made for up to
three; more cost 4,096 tokens each.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from diffusers import QwenImageEditPlusPipeline
from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus import (
    CONDITION_IMAGE_SIZE,
    VAE_IMAGE_SIZE,
    calculate_dimensions,
)
from PIL.Image import Image

from trainer.policies.encoded_examples import Encoders
from trainer.policies.qwen_edit import BroughtSources, EditFamily
from trainer.policies.qwen_edit_loading import ENCODER_PARTS, load_edit_encoders, load_edit_policy


def _bring(pipeline: Any, sources: Sequence[Image]) -> BroughtSources:
    seen, pixels = [], []
    for source in sources:
        width, height = calculate_dimensions(CONDITION_IMAGE_SIZE, source.width / source.height)
        seen.append(pipeline.image_processor.resize(source, height, width))
        width, height = calculate_dimensions(VAE_IMAGE_SIZE, source.width / source.height)
        pixels.append(pipeline.image_processor.preprocess(source, height, width).unsqueeze(2))
    return BroughtSources(seen=seen, pixels=pixels)


def _all(sources: Sequence[Image]) -> list[Image]:
    return list(sources)


_FAMILY = EditFamily(
    name="Qwen-Image-Edit-2509", pipeline_class=QwenImageEditPlusPipeline, bring=_bring, image_argument=_all
)

load_qwen_image_edit_plus = partial(load_edit_policy, _FAMILY)
"""See `load_edit_policy`."""

QWEN_IMAGE_EDIT_PLUS_ENCODERS = Encoders(
    load=partial(load_edit_encoders, _FAMILY),
    parts=ENCODER_PARTS,
    prompt_tokenizer="tokenizer",
    num_sources=range(1, 9),
)
