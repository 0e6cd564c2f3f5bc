"""Qwen2.5-VL's processor for texts and images, without the part for videos.

`Qwen2VLProcessor` cannot even be loaded without its video processor, which needs torchvision; editing pictures needs
neither. Texts and images come out the same.
"""

from typing import Any

from transformers import Qwen2VLProcessor
from transformers.processing_utils import ProcessorMixin


class QwenImageProcessor(Qwen2VLProcessor):  # type: ignore[misc]
    """A `Qwen2VLProcessor` of two parts; `from_pretrained` takes the same folder."""

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None) -> None:
        self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
        # Past Qwen2VLProcessor's own constructor, which demands a video processor.
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)
