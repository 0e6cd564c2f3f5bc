"""Write a real Qwen3-VL checkpoint of half a million random parameters: every part of the 8B model, each very small.

    write_tiny_qwen3vl.py FOLDER

Runs in vLLM's own environment. Its answers mean nothing, but they depend on every pixel and every character, they are
the same on every machine and on every call, and they come over the very code that serves the large model.
"""

import sys
from itertools import pairwise
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

SPECIAL = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
)
"""Qwen's control tokens; they take the ids from 0 on."""

WORDS = ("yes", "Yes", "no", "No", "in", "an", "the", "or", "er", "is", "re", "at", "on", "en", "image", "prompt")
"""Single tokens, alone and after a blank, as in Qwen's vocabulary: the labels, and some that keep prompts short."""

BLANK = "Ġ"
"""How byte-level BPE writes a blank."""

WEIGHT_SCALE = 0.2
"""Standard deviation of the random weights. At the usual 0.02 all log-odds are 0 to two digits, whatever is shown."""

CHAT_TEMPLATE = """\
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\n' }}
    {%- if message.content is string %}
        {{- message.content }}
    {%- else %}
        {%- for part in message.content %}
            {%- if 'text' in part %}
                {{- part.text }}
            {%- else %}
                {{- '<|vision_start|><|image_pad|><|vision_end|>' }}
            {%- endif %}
        {%- endfor %}
    {%- endif %}
    {{- '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
"""
"""Qwen3-VL's, without tools and videos."""


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE whose merges spell `WORDS`. Written down, not trained: training numbers tokens anew every time."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [(BLANK, digit) for digit in "0123456789"]
    for word in WORDS:
        starts = [word[:length] for length in range(1, len(word) + 1)]
        merges += [(start, longer[-1]) for start, longer in pairwise(starts)]
        merges.append((BLANK, word))
    merges = list(dict.fromkeys(merges))
    tokens = dict.fromkeys([*SPECIAL, *alphabet, *(left + right for left, right in merges)])
    raw = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(tokens)}, merges=merges))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL[1:]),
        chat_template=CHAT_TEMPLATE,
    )


def make_model(tokenizer: PreTrainedTokenizerFast) -> Qwen3VLForConditionalGeneration:
    """Two text layers, two vision layers, one of them feeding the text layers directly (deepstack), in float32."""
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL}
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 32768,
        "rope_theta": 5e6,
        "rope_scaling": {"rope_type": "default", "mrope_section": [8, 4, 4], "mrope_interleaved": True},
        "tie_word_embeddings": True,
        "initializer_range": WEIGHT_SCALE,
        "dtype": "float32",
    }
    vision = {
        "depth": 2,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_heads": 2,
        "out_hidden_size": 64,
        "num_position_embeddings": 256,
        "deepstack_visual_indexes": [0],
        "initializer_range": WEIGHT_SCALE,
    }
    config = Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    model = Qwen3VLForConditionalGeneration(config).float()
    model.generation_config.eos_token_id = ids["<|im_end|>"]
    model.generation_config.pad_token_id = ids["<|endoftext|>"]
    return model


def write(folder: Path) -> None:
    """Weights, tokenizer and processor, as `from_pretrained` and vLLM read them."""
    tokenizer = make_tokenizer()
    make_model(tokenizer).save_pretrained(folder)
    images = Qwen2VLImageProcessor(
        patch_size=16,
        merge_size=2,
        temporal_patch_size=2,
        size={"shortest_edge": 32 * 32, "longest_edge": 1024 * 1024},  # pixels in all, as Qwen counts
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    videos = Qwen3VLVideoProcessor()  # Qwen3-VL has no processor without one
    Qwen3VLProcessor(images, tokenizer, videos, chat_template=CHAT_TEMPLATE).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
