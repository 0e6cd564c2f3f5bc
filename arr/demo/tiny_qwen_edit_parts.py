"""The architecture of the tiny Qwen-Image-Edit: every part that its pipelines have, with random weights.

Owns sizes and the tokenizer. The one rule: the parts are of the real classes (3-D causal autoencoder, Qwen2.5-VL with
its vision tower and processor), so that code written for the real model runs unchanged. One thing is not to scale: the
autoencoder makes images 32 times smaller instead of 8. The pipelines bring every source to 1024² pixels, which would be
4,096 tokens of context for a model that draws 4.
"""

import json
from typing import TypeVar

import torch
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImageEditPipeline,
    QwenImageEditPlusPipeline,
    QwenImageTransformer2DModel,
)
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
)
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from arr.demo.shapes import PROMPTS
from arr.demo.tiny_parts import LATENT_CHANNELS, TEXT_WIDTH
from trainer.policies.qwen_processor import QwenImageProcessor

RESOLUTION = 128
"""Width and height of a drawn image: 4 tokens of 2 × 2 latents, at `DOWNSAMPLINGS`."""

DOWNSAMPLINGS = 5
"""Each halves width and height; the real autoencoder has 3."""

_VISION_PIXELS = 56 * 56
"""What the vision tower sees of a source: 2 × 2 merged patches."""

_TEXT_GAIN = 100.0
_CONTRAST = 5.0
"""With weights as they come, pictures would be grey, and a dozen text tokens among 256 of a source would hardly change
a pixel: a test could not tell one prompt from another, or guidance from none."""

_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>")
_VIDEO = "<|video_pad|>"

_TEMPLATE = (
    "system\nDescribe the key features of the input image (color, shape, size, texture, objects, background), then "
    "explain how the user's text instruction should alter or modify the image. Generate a new image that meets the "
    "user's requirements while maintaining consistency with the original input where appropriate.user\nassistant\n"
    "Picture 1: Make the shape"
)
"""The pipelines' own prompt, which they cut off after 64 tokens: every word of it must be one token, as in the real
tokenizer."""

Pipeline = TypeVar("Pipeline", QwenImageEditPipeline, QwenImageEditPlusPipeline)


def random_qwen_edit_pipeline(
    pipeline_class: type[Pipeline], seed: int, *, downsamplings: int = DOWNSAMPLINGS
) -> Pipeline:
    """Put it together from randomly initialised parts, 600,000 parameters, without touching the global RNG."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = qwen_tokenizer()
        return pipeline_class(
            scheduler=_scheduler(),
            vae=_autoencoder(downsamplings),
            text_encoder=_text_encoder(tokenizer),
            tokenizer=tokenizer,
            processor=_processor(tokenizer),
            transformer=_transformer(),
        )


def qwen_tokenizer() -> Qwen2Tokenizer:
    """Byte pairs: one token per word of the pipelines' template and of the demo's captions, bytes for anything else."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    # Named as special, the bytes get their ids in this order; from the words alone it would change from run to run.
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=2048, special_tokens=alphabet, show_progress=False)
    bpe.train_from_iterator([_TEMPLATE, *(f" {prompt}" for prompt in PROMPTS), *PROMPTS], trainer)
    merges = [tuple(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]]
    vocab = bpe.get_vocab()
    special = [*_SPECIAL, _VIDEO]
    vocab.update({token: len(vocab) + index for index, token in enumerate(special)})
    return Qwen2Tokenizer(vocab=vocab, merges=merges, additional_special_tokens=special[1:], model_max_length=4096)


def _scheduler() -> FlowMatchEulerDiscreteScheduler:
    """As the real checkpoints have it: shifted by the number of tokens, and stretched to end at 0.02."""
    return FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True,
        base_shift=0.5,
        max_shift=0.9,
        max_image_seq_len=8192,
        shift=1.0,
        shift_terminal=0.02,
        time_shift_type="exponential",
    )


def _autoencoder(downsamplings: int) -> AutoencoderKLQwenImage:
    vae = AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=LATENT_CHANNELS,
        dim_mult=[1] * (downsamplings + 1),
        num_res_blocks=0,  # in the encoder; the decoder has one more
        temperal_downsample=[False] * (downsamplings - 2) + [True, True],
    )
    with torch.no_grad():
        vae.decoder.conv_out.weight.mul_(_CONTRAST)
    return vae


def _text_encoder(tokenizer: Qwen2Tokenizer) -> Qwen2_5_VLForConditionalGeneration:
    token = tokenizer.convert_tokens_to_ids
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": TEXT_WIDTH,
            "intermediate_size": 2 * TEXT_WIDTH,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 4096,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 6, 6]},
            "bos_token_id": None,
            "eos_token_id": token("<|im_end|>"),
            "pad_token_id": token("<|endoftext|>"),
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": TEXT_WIDTH,
            "fullatt_block_indexes": [1],
        },
        image_token_id=token("<|image_pad|>"),
        video_token_id=token(_VIDEO),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
    )
    return Qwen2_5_VLForConditionalGeneration(config).eval().requires_grad_(False)


def _processor(tokenizer: Qwen2Tokenizer) -> QwenImageProcessor:
    size = {"shortest_edge": _VISION_PIXELS, "longest_edge": _VISION_PIXELS}
    return QwenImageProcessor(image_processor=Qwen2VLImageProcessor(size=size), tokenizer=tokenizer)


def _transformer() -> QwenImageTransformer2DModel:
    transformer = QwenImageTransformer2DModel(
        in_channels=4 * LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_layers=2,
        num_attention_heads=2,
        attention_head_dim=32,
        joint_attention_dim=TEXT_WIDTH,
        axes_dims_rope=(8, 12, 12),
    )
    with torch.no_grad():
        for block in transformer.transformer_blocks:
            block.attn.add_v_proj.weight.mul_(_TEXT_GAIN)
    return transformer
