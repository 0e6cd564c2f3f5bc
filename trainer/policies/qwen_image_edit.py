"""Qwen-Image-Edit: one source, as `QwenImageEditPipeline` resizes it.

Vision-language encoder and transformer see the same picture of about 1024² pixels.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from diffusers import QwenImageEditPipeline
from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit import calculate_dimensions
from PIL.Image import Image

from trainer.policies.encoded_examples import Encoders
from trainer.policies.qwen_edit import BroughtSources, EditFamily
from trainer.policies.qwen_edit_loading import ENCODER_PARTS, load_edit_encoders, load_edit_policy

_AREA = 1024 * 1024
"""Pixels; the pipeline has the number in its code."""


def _bring(pipeline: Any, sources: Sequence[Image]) -> BroughtSources:
    source = _only(sources)
    width, height, _ = calculate_dimensions(_AREA, source.width / source.height)
    resized = pipeline.image_processor.resize(source, height, width)
    return BroughtSources(
        seen=resized, pixels=[pipeline.image_processor.preprocess(resized, height, width).unsqueeze(2)]
    )


def _only(sources: Sequence[Image]) -> Image:
    (source,) = sources
    return source


_FAMILY = EditFamily(name="Qwen-Image-Edit", pipeline_class=QwenImageEditPipeline, bring=_bring, image_argument=_only)

load_qwen_image_edit = partial(load_edit_policy, _FAMILY)
"""See `load_edit_policy`."""

QWEN_IMAGE_EDIT_ENCODERS = Encoders(
    load=partial(load_edit_encoders, _FAMILY),
    parts=ENCODER_PARTS,
    prompt_tokenizer="tokenizer",
    num_sources=range(1, 2),
)
