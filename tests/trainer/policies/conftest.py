"""Pictures to edit, the recipes of the tiny edit models, and their encoded examples: each is encoded once."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trainer.config import ModelConfig, TrainConfig
from trainer.data import Example, SourceFiles, SourceImage
from trainer.policies import ENCODERS
from trainer.policies.encoded_examples import EncodedExamples

SIZES = {"wide": (100, 80), "wide_too": (50, 40), "square": (64, 64)}
"""Width and height; the first two have one shape for the pipelines, 14 × 18 tokens at the tiny autoencoder's 32."""


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SourceImage]:
    """Noise of three sizes, each another."""
    folder = tmp_path_factory.mktemp("pictures")
    for seed, (name, (width, height)) in enumerate(SIZES.items()):
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return {name: SourceFiles().of_file(folder / f"{name}.png") for name in SIZES}


@pytest.fixture(scope="session")
def edits(pictures: dict[str, SourceImage]) -> dict[str, tuple[Example, ...]]:
    """Per family: instructions of different lengths, about sources of equal and of different shapes."""
    wide, wide_too, square = (pictures[name] for name in SIZES)
    return {
        "qwen_image_edit": (
            Example("a red circle", (wide,)),
            Example("a blue square, and a green triangle above the circle", (wide_too,)),
            Example("a yellow circle", (square,)),
        ),
        "qwen_image_edit_plus": (
            Example("a red circle", (wide, square)),
            Example("a blue square, and a green triangle above the circle", (wide_too, square)),
            Example("a yellow circle", (square,)),
        ),
    }


@pytest.fixture
def make_edit_config(
    tiny_qwen_edit: Path, tiny_qwen_edit_plus: Path, make_config: Callable[..., TrainConfig]
) -> Callable[..., TrainConfig]:
    """`make_edit_config("qwen_image_edit", model={"true_cfg_scale": 1.0}, rollout={…})`."""
    paths = {"qwen_image_edit": tiny_qwen_edit, "qwen_image_edit_plus": tiny_qwen_edit_plus}

    def make(family: str, *, model: dict[str, object] | None = None, **sections: object) -> TrainConfig:
        own = {"resolution": 128, "num_inference_steps": 4, "max_sequence_length": 64}
        return make_config(model={"family": family, "path": str(paths[family]), **own, **(model or {})}, **sections)

    return make


@pytest.fixture(scope="session")
def encoded_edits(
    tiny_qwen_edit: Path, tiny_qwen_edit_plus: Path, edits: dict[str, tuple[Example, ...]]
) -> Callable[..., EncodedExamples]:
    """`encoded_edits("qwen_image_edit", dtype="float32")`: bringing sources to 1024² pixels takes a second each."""
    paths = {"qwen_image_edit": tiny_qwen_edit, "qwen_image_edit_plus": tiny_qwen_edit_plus}
    made: dict[tuple[str, str], EncodedExamples] = {}

    def encode(family: str, *, dtype: str = "float32") -> EncodedExamples:
        if (family, dtype) not in made:
            config = ModelConfig.model_validate({"family": family, "path": str(paths[family]), "dtype": dtype})
            encoder = ENCODERS[family].load(config, device=torch.device("cpu"))
            made[family, dtype] = EncodedExamples.encode(edits[family], encoder)
        return made[family, dtype]

    return encode
