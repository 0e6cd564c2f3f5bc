"""Everything that is specific to a model: one file per family behind the protocol in `base`."""

from collections.abc import Callable, Mapping, Sequence

import torch

from trainer.config import TrainConfig
from trainer.data import Example, derive_seed
from trainer.errors import ConfigError
from trainer.policies import lora
from trainer.policies.base import Policy
from trainer.policies.encoded_examples import EncodedExamples, Encoders
from trainer.policies.encoder_identity import EncoderIdentity
from trainer.policies.flux import FLUX_ENCODERS, load_flux
from trainer.policies.prepared_rows import PreparedRows
from trainer.policies.prompt_length import refuse_long_prompts
from trainer.policies.qwen_image_edit import QWEN_IMAGE_EDIT_ENCODERS, load_qwen_image_edit
from trainer.policies.qwen_image_edit_plus import QWEN_IMAGE_EDIT_PLUS_ENCODERS, load_qwen_image_edit_plus
from trainer.policies.sd3 import SD3_ENCODERS, load_sd3
from trainer.policies.z_image import Z_IMAGE_ENCODERS, load_z_image

_LOADERS: Mapping[str, Callable[..., Policy]] = {
    "flux": load_flux,
    "sd3": load_sd3,
    "qwen_image_edit": load_qwen_image_edit,
    "qwen_image_edit_plus": load_qwen_image_edit_plus,
    "z_image": load_z_image,
}

ENCODERS: Mapping[str, Encoders] = {
    "flux": FLUX_ENCODERS,
    "sd3": SD3_ENCODERS,
    "qwen_image_edit": QWEN_IMAGE_EDIT_ENCODERS,
    "qwen_image_edit_plus": QWEN_IMAGE_EDIT_PLUS_ENCODERS,
    "z_image": Z_IMAGE_ENCODERS,
}
"""Model family → what encodes its examples."""


def load_policy(config: TrainConfig, *, examples: Sequence[Example], device: torch.device) -> Policy:
    """Load the model with a fresh adapter; its text encoders only where examples have to be encoded now.

    Raises `ConfigError` when the model cannot be loaded, does not take such examples, or they are not prepared.
    """
    refuse_unfit_examples(config, examples)
    encoded = _rows_at_hand(config, examples)
    policy = _LOADERS[config.model.family](config.model, examples=examples, device=device, encoded=encoded)
    lora.attach_lora(
        policy.transformer,
        rank=config.lora.rank,
        alpha=config.lora.alpha,
        targets=config.lora.targets,
        seed=derive_seed(config.seed, "lora"),
    )
    return policy


def refuse_unfit_examples(config: TrainConfig, examples: Sequence[Example]) -> None:
    """Raise `ConfigError` for the first example with fewer or more source images than the model takes."""
    takes = ENCODERS[config.model.family].num_sources
    for example in examples:
        if len(example.sources) not in takes:
            wanted = f"{takes[0]}" if len(takes) == 1 else f"{takes[0]} to {takes[-1]}"
            raise ConfigError(
                f"model.family {config.model.family!r} takes {wanted} source images, and {example.prompt[:60]!r} has "
                f"{len(example.sources)}; choose another family, or other data"
            )


def _rows_at_hand(config: TrainConfig, examples: Sequence[Example]) -> EncodedExamples | None:
    """Rows that need not be encoded now: those of nothing, and prepared ones; None = the examples are to be encoded."""
    if not examples:
        return EncodedExamples({})
    encoders = ENCODERS[config.model.family]
    if config.data.prepared is None:
        refuse_long_prompts(config.model, examples, tokenizer=encoders.prompt_tokenizer)
        return None
    wanted = EncoderIdentity.of(config.model, encoders)
    return EncodedExamples(PreparedRows.open(config.data.prepared, wanted, (*encoders.always, *examples)))
