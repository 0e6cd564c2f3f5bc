"""What the tiny pipelines have in common: an autoencoder, text encoders and tokenizers, with random weights.

Owns sizes and tokenizers. The one rule: the geometry of the real models is kept (16 latent channels, 8× smaller), so
that code written for them runs unchanged.
"""

import json
import string

import torch
from diffusers import AutoencoderKL
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTokenizer, T5Config, T5EncoderModel, T5TokenizerFast

from arr.demo.shapes import PROMPTS, RESOLUTION

MAX_SEQUENCE_LENGTH = 12
"""Tokens of every text input. FLUX and SD3 pad without a mask, so a call with another length is out of distribution."""

TEXT_WIDTH = 64
LATENT_CHANNELS = 16

_WORDS = sorted({word for prompt in PROMPTS for word in prompt.split()})


def autoencoder() -> AutoencoderKL:
    """Images [B, 3, 32, 32] to latents [B, 16, 4, 4]."""
    vae = AutoencoderKL(
        latent_channels=LATENT_CHANNELS,
        block_out_channels=(16, 32, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=RESOLUTION,
        scaling_factor=1.0,
        shift_factor=0.0,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    # The posterior starts narrow (log variance −4 everywhere): the decoder learns from signal, not from noise.
    narrow = vae.encoder.conv_out
    torch.nn.init.zeros_(narrow.weight[LATENT_CHANNELS:])
    torch.nn.init.constant_(narrow.bias[LATENT_CHANNELS:], -4.0)
    return vae


def clip_config(tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    """Two layers. Without `eos_token_id` CLIP pools the largest token id (its old default), not the end of the text."""
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        projection_dim=TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=MAX_SEQUENCE_LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def t5(tokenizer: T5TokenizerFast, *, width: int = TEXT_WIDTH) -> T5EncoderModel:
    """Two layers; `width` is that of the embeddings."""
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=width,
        d_kv=32,
        d_ff=2 * width,
        num_layers=2,
        num_heads=2,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        is_encoder_decoder=False,
        use_cache=False,
    )
    return T5EncoderModel(config).eval().requires_grad_(False)


def clip_tokenizer() -> CLIPTokenizer:
    """Byte pairs learned from the captions' words: one token per known word, letters for any other."""
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    # Named as special, the letters get their ids in this order; from the words alone it would change from run to run.
    letters = [*string.ascii_lowercase, *(f"{letter}</w>" for letter in string.ascii_lowercase)]
    trainer = trainers.BpeTrainer(
        special_tokens=["<|startoftext|>", "<|endoftext|>", *letters], end_of_word_suffix="</w>", show_progress=False
    )
    bpe.train_from_iterator(_WORDS, trainer)
    merges = [tuple(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]]
    return CLIPTokenizer(vocab=bpe.get_vocab(), merges=merges, model_max_length=MAX_SEQUENCE_LENGTH)


def t5_tokenizer() -> T5TokenizerFast:
    """One piece per known word, letters (at a lower score) for any other."""
    specials = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0)]
    words = [(f"▁{word}", -1.0) for word in _WORDS if word != "a"]
    letters = [(letter, -10.0) for letter in string.ascii_lowercase]
    pieces = [*specials, ("▁", -5.0), ("▁a", -1.0), *words, *letters]
    return T5TokenizerFast(vocab=pieces, extra_ids=0, model_max_length=MAX_SEQUENCE_LENGTH)
