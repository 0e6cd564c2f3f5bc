"""A folder of labelled pairs as `arr pairs import` takes it: `pairs.jsonl`, and PNG files beside it.

Owns which image of a pair stands first: the better one in exactly half of the rows, dealt by the seed.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

ANNOTATIONS = "pairs.jsonl"


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledPair:
    """One prompt, an image that does what it says, and one that does not."""

    name: str
    """Unique in its folder; says what is wrong with `bad`, for people who look."""
    prompt: str
    good: Image.Image
    bad: Image.Image
    source: Image.Image | None = None
    """The picture that was edited."""
    source_name: str | None = None
    """Pairs with one source share its file."""


def write_folder(pairs: Sequence[LabelledPair], folder: Path, *, seed: int) -> Path:
    """Write the pairs; returns the file with the rows. Equal pairs and seeds give equal files, byte for byte.

    Files are named by number and side: a name that says which image is the better one would give the answer away.
    """
    folder.mkdir(parents=True, exist_ok=True)
    good_is_first = np.random.default_rng(seed).permutation(len(pairs)) % 2 == 0
    rows: list[dict[str, object]] = []
    for number, (pair, is_first) in enumerate(zip(pairs, good_is_first, strict=True)):
        names = [f"{number:03d}-{side}.png" for side in ("a", "b")]
        for name, image in zip(names, (pair.good, pair.bad) if is_first else (pair.bad, pair.good), strict=True):
            image.save(folder / name)
        rows.append({"id": pair.name, "prompt": pair.prompt, "images": names, "rank": [1, 2] if is_first else [2, 1]})
        if pair.source is not None:
            rows[-1]["source"] = f"{pair.source_name}.png"
            pair.source.save(folder / f"{pair.source_name}.png")
    return write_rows(rows, folder / ANNOTATIONS)


def write_rows(rows: Iterable[dict[str, object]], file: Path) -> Path:
    """One JSON object per line."""
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return file


def shuffle_labels(annotations: Path, shuffled: Path, *, seed: int) -> Path:
    """The same rows with exactly half of the labels turned round: there is nothing left to learn from them."""
    rows = [json.loads(line) for line in annotations.read_text().splitlines()]
    is_turned = np.random.default_rng(seed).permutation(len(rows)) % 2 == 0
    return write_rows(
        ({**row, "rank": row["rank"][:: -1 if turned else 1]} for row, turned in zip(rows, is_turned, strict=True)),
        shuffled,
    )
