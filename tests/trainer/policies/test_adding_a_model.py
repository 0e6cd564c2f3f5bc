"""docs/adding_a_model.md: what it shows is what is there, and what it says is enough."""

import re
from pathlib import Path
from typing import get_args

import pytest

from trainer import export
from trainer.config import ModelConfig
from trainer.policies import _LOADERS, ENCODERS

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs" / "adding_a_model.md").read_text(encoding="utf-8")
EXCERPTS = re.findall(r"^`([\w/]+\.py)`:\n\n```python\n(.*?)^```$", GUIDE, flags=re.MULTILINE | re.DOTALL)
"""(file, lines) of every block of code in the guide."""


def test_every_block_of_the_guide_names_its_file() -> None:
    assert len(EXCERPTS) == GUIDE.count("```python") >= 5
    assert EXCERPTS[0][0] == "trainer/policies/z_image.py"


@pytest.mark.parametrize(("file", "lines"), EXCERPTS, ids=[file for file, _ in EXCERPTS])
def test_a_block_of_the_guide_is_in_its_file_word_for_word(file: str, lines: str) -> None:
    assert lines in (ROOT / file).read_text(encoding="utf-8")


def test_the_guide_shows_the_whole_policy() -> None:
    assert EXCERPTS[0][1] == (ROOT / EXCERPTS[0][0]).read_text(encoding="utf-8")


def test_a_family_stands_in_every_table_that_the_guide_names() -> None:
    families = set(get_args(ModelConfig.model_fields["family"].annotation))
    assert families == set(_LOADERS) == set(ENCODERS) == set(export._PIPELINES)
