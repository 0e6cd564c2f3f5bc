"""What encoded a row, in a form that can be compared: rows of other encoders look the same and train the wrong thing.

The one rule: weights are compared where they are at hand. Training from prepared rows does without the encoders, and
their folders may be gone by then.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from pydantic import BaseModel, ConfigDict

from trainer.config import ModelConfig
from trainer.policies.encoded_examples import Encoders

_SAMPLED_BYTES = 64 * 1024
"""Read from either end of a file: enough to tell fine-tuned weights of equal size apart, without reading gigabytes."""


class EncoderIdentity(BaseModel):
    """Equal identities make equal rows (on one kind of device)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: str
    dtype: str
    max_sequence_length: int
    resolution: int | None
    """None where rows do not depend on it."""
    negative_prompt: str | None = None
    """None where rows hold none."""
    weights: str | None
    """Digest of the encoders' files; None where they are not at hand."""

    @classmethod
    def of(cls, config: ModelConfig, encoders: Encoders) -> "EncoderIdentity":
        """What a recipe's encoders are; where there are source images, the autoencoder is one."""
        parts = (*encoders.parts, "vae") if encoders.num_sources.stop > 1 else encoders.parts
        return cls(
            family=config.family,
            dtype=config.dtype,
            max_sequence_length=config.max_sequence_length,
            resolution=config.resolution if encoders.sees_resolution else None,
            negative_prompt=config.used_negative_prompt,
            weights=_weights_digest(config.path, parts),
        )

    def difference_to(self, wanted: "EncoderIdentity") -> str | None:
        """The first thing in which rows of this would be wrong for `wanted`, in words; None = they are right."""
        for name in ("family", "dtype", "max_sequence_length", "resolution", "negative_prompt"):
            mine, theirs = getattr(self, name), getattr(wanted, name)
            if mine != theirs:
                return f"model.{name} {mine!r}, and the recipe has {theirs!r}"
        if self.weights and wanted.weights and self.weights != wanted.weights:
            return "other text encoders than those at model.path"
        return None


def _weights_digest(path: str, parts: Sequence[str]) -> str | None:
    """Of names, sizes and both ends of all files in the folders of those parts that the pipeline has."""
    folder = _local_folder(path)
    if folder is None:
        return None
    index = json.loads((folder / "model_index.json").read_text())
    folders = [folder / part for part in parts if index.get(part, [None])[0] is not None]
    if not all(part.is_dir() for part in folders):
        return None
    digest = hashlib.sha256()
    for file in _files(folders):
        digest.update(f"{file.relative_to(folder)} {file.stat().st_size}\n".encode())
        digest.update(_ends(file))
    return f"sha256:{digest.hexdigest()}"


def _local_folder(path: str) -> Path | None:
    """Where the pipeline lies: the folder itself, or the hub's copy in the cache."""
    if (Path(path) / "model_index.json").is_file():
        return Path(path)
    if Path(path).exists():
        return None
    cached = try_to_load_from_cache(path, "model_index.json")
    return Path(cached).parent if isinstance(cached, str) else None


def _files(folders: Sequence[Path]) -> Iterator[Path]:
    return (file for folder in folders for file in sorted(folder.rglob("*")) if file.is_file())


def _ends(file: Path) -> bytes:
    with file.open("rb") as stream:
        head = stream.read(_SAMPLED_BYTES)
        stream.seek(max(0, file.stat().st_size - _SAMPLED_BYTES))
        return head + stream.read(_SAMPLED_BYTES)
