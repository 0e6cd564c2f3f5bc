"""An edit model trained as any other: sources from a file, to the encoders and to the judge."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from reward_client import RewardClient
from shared_schemas.rubrics import Criterion, RubricContent, Task
from trainer.config import TrainConfig
from trainer.train import train


def test_an_edit_model_takes_a_step_and_goes_on(
    service_url: str, tiny_qwen_edit: Path, make_values: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    rows = []
    for index, colour in enumerate(("red", "blue")):
        pixels = np.random.default_rng(index).integers(0, 256, (48, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{colour}.png")
        rows.append({"prompt": f"a {colour} circle", "source_image": f"{colour}.png"})
    prompts = tmp_path / "edits.jsonl"
    prompts.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    criterion = Criterion(id="brightness", theme="Brightness", tips=("the edit is bright",))
    with RewardClient(service_url) as client:
        client.publish_rubric("edits", RubricContent(task=Task.EDIT, criteria=(criterion,)))
    model = {"family": "qwen_image_edit", "path": str(tiny_qwen_edit), "resolution": 128, "num_inference_steps": 3}
    values = make_values(
        model=model,
        data={"prompts": str(prompts)},
        reward={"url": service_url, "rubric": "edits"},
        rollout={"prompts_per_step": 2, "micro_batches": 1},
    )
    values["evaluation"] = {}
    outcomes = [train(TrainConfig.model_validate(values | {"steps": steps})) for steps in (1, 2)]
    assert [(outcome.step, outcome.is_complete) for outcome in outcomes] == [(1, True), (2, True)]
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    steps = [record for record in map(json.loads, lines) if record["kind"] == "step"]
    assert [record["verdicts"]["failed"] for record in steps] == [0, 0]
    assert steps[-1]["update"]["grad_norm"] > 0
