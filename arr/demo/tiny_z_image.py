"""A real, tiny ZImagePipeline with random weights on disk: for tests of code that trains or samples."""

from pathlib import Path

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, ZImagePipeline, ZImageTransformer2DModel
from transformers import Qwen2Tokenizer, Qwen3Config, Qwen3Model

from arr.demo.model_cache import written_whole
from arr.demo.tiny_parts import LATENT_CHANNELS, TEXT_WIDTH, autoencoder
from arr.demo.tiny_qwen_edit_parts import qwen_tokenizer

_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)


def build_random_tiny_z_image(directory: Path, *, seed: int = 0) -> None:
    """Save it, in a second, without touching the global RNG. Raises `FileExistsError` if `directory` exists."""
    with written_whole(directory) as unfinished, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = qwen_tokenizer()
        tokenizer.chat_template = _CHAT
        pipeline = ZImagePipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=False),
            vae=autoencoder(),
            text_encoder=_text_encoder(tokenizer),
            tokenizer=tokenizer,
            transformer=_transformer(),
        )
        pipeline.save_pretrained(unfinished)


def _text_encoder(tokenizer: Qwen2Tokenizer) -> Qwen3Model:
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=1024,
        bos_token_id=None,
        eos_token_id=tokenizer.convert_tokens_to_ids("<|im_end|>"),
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen3Model(config).eval().requires_grad_(False)


def _transformer() -> ZImageTransformer2DModel:
    transformer = ZImageTransformer2DModel(
        in_channels=LATENT_CHANNELS,
        dim=96,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=3,
        n_kv_heads=3,
        cap_feat_dim=TEXT_WIDTH,
        axes_dims=[8, 12, 12],
        axes_lens=[256, 64, 64],
    )
    # The padding tokens of images and captions are left unset by the constructor, to be filled by a checkpoint.
    for name, parameter in transformer.named_parameters():
        if name.endswith("pad_token"):
            torch.nn.init.normal_(parameter, std=0.02)
    return transformer
