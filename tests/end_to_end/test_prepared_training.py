"""A run from prepared rows: without text encoders, to the same curve."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainer.config import TrainConfig
from trainer.prepare import prepare
from trainer.train import train


def _curve(config: TrainConfig) -> list[dict[str, Any]]:
    """What was learned at each step, without the times."""
    lines = (config.output_dir / "metrics.jsonl").read_text().splitlines()
    return [record["update"] for line in lines if (record := json.loads(line))["kind"] == "step"]


def test_a_run_without_text_encoders_has_the_curve_of_one_with_them(
    make_config: Callable[..., TrainConfig], tiny_flux: Path, tmp_path: Path
) -> None:
    pipeline = shutil.copytree(tiny_flux, tmp_path / "pipeline")
    rows = {"prepared": str(tmp_path / "prepared")}
    encoding = make_config(output_dir=str(tmp_path / "encoding"), model={"path": str(pipeline)})
    prepared = make_config(output_dir=str(tmp_path / "from-rows"), model={"path": str(pipeline)}, data=rows)
    train(encoding)
    assert prepare(prepared).is_complete
    for folder in (*pipeline.glob("text_encoder*"), *pipeline.glob("tokenizer*")):
        shutil.rmtree(folder)
    train(prepared)
    assert _curve(prepared) == _curve(encoding)
    assert len(_curve(prepared)) == 2
