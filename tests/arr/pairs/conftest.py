"""Small datasets in exactly the published layouts, and pictures to fill them with."""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image


def _picture(number: int, *, format: str = "PNG") -> bytes:
    """One 8×8 picture per number, in a colour of its own."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (number % 256, 40 * number % 256, 255 - number % 256)).save(buffer, format)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def picture() -> Callable[..., bytes]:
    """`picture(3, format="JPEG")`: an image file's content; equal numbers give equal files."""
    return _picture


@pytest.fixture
def write_picture(tmp_path: Path) -> Callable[..., str]:
    """`write_picture("train/a.png", 3)`: puts a picture below the test's folder and returns its path there."""

    def write(name: str, number: int, *, format: str = "PNG") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_picture(number, format=format))
        return name

    return write


@pytest.fixture
def write_json(tmp_path: Path) -> Callable[..., Path]:
    """`write_json("train.json", value)`: below the test's folder."""

    def write(name: str, value: object) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))
        return path

    return write


@pytest.fixture
def write_parquet(tmp_path: Path) -> Callable[..., Path]:
    """`write_parquet("data/x.parquet", rows)`: below the test's folder; types as pyarrow infers them."""

    def write(name: str, rows: Sequence[dict[str, Any]]) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
        return path

    return write
