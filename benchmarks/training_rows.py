"""Training, one effect after the other: the same tiny model and judge, and one row for each way of working.

Owns what each way changes, and what was expected of it before anything was measured. The one rule: a way differs from
the one it builds on in what its name says, and in nothing else.
"""

import json
import socket
import tomllib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from arr.demo.shapes import PROMPTS
from benchmarks.memory import Memory, in_new_process
from benchmarks.step_seconds import Measured, StepSeconds, middle
from benchmarks.training_product import measure_product
from benchmarks.training_reference import measure_reference
from trainer.config import TrainConfig

_RECIPE = Path(__file__).parents[1] / "trainer" / "configs" / "tiny_flux.toml"


class Way(StrEnum):
    """How a step is taken."""

    REFERENCE = "(a) reference loop"
    BATCHED = "(b) + batching"
    OVERLAPPED = "(c) + overlap"
    WINDOW = "(d) + window of 3"
    BFLOAT16 = "(c), bfloat16 base"
    TWO_PROCESSES = "(c), 2 processes"
    PROMISED = "(c), promised"


PREDICTED_SPEED_UP: dict[Way, float] = {
    Way.REFERENCE: 1.0,
    Way.BATCHED: 7.8,
    Way.OVERLAPPED: 9.5,
    Way.WINDOW: 13.7,
    Way.BFLOAT16: 8.0,
    Way.TWO_PROCESSES: 14.0,
}
"""Against (a), of the usual plan on two idle cores; docs/performance.md has the reasoning. Not to be corrected."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """How large the steps of a row are."""

    groups: int
    """Pairs per step."""
    micro_batches: int
    steps: int
    """That are measured, after one that is not."""
    resolution: int = 32
    """Width and height, pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One way, measured."""

    way: Way
    shape: Shape
    measured: Measured
    memory: Memory
    """Of the training process; of the first, where there are several."""
    num_processes: int = 1

    @property
    def seconds(self) -> StepSeconds:
        """The median of each phase."""
        return middle(self.measured.steps)

    @property
    def steps_per_second(self) -> float:
        """All measured steps by their time."""
        return len(self.measured.steps) / sum(step.total for step in self.measured.steps)

    @property
    def pairs_per_second(self) -> float:
        """Judged and trained on."""
        return self.shape.groups * self.steps_per_second

    @property
    def wait_fraction(self) -> float:
        """Share of the time that the loop stood still for rewards."""
        return sum(step.judge_wait for step in self.measured.steps) / sum(step.total for step in self.measured.steps)

    @property
    def answer_seconds(self) -> float:
        """Mean time to the answer of one request."""
        return sum(self.measured.answers) / len(self.measured.answers)

    @property
    def predicted_wait_fraction(self) -> float | None:
        """What an answer of that time should cost, of a loop that waits for the last one only; none without overlap."""
        if self.way in (Way.REFERENCE, Way.BATCHED):
            return None
        seconds, answer = self.seconds, self.answer_seconds
        return answer / (seconds.sample + seconds.decode + seconds.update + answer)


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where rows are measured."""

    folder: Path
    model: Path
    """The tiny FLUX."""
    service_url: str

    def recipe(self, way: Way, shape: Shape) -> TrainConfig:
        """The demo's recipe in this way. Every way has a seed of its own, so that no cache answers for the judge."""
        prompts = self.folder / "prompts.jsonl"
        prompts.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in PROMPTS))
        values: dict[str, Any] = tomllib.loads(_RECIPE.read_text())
        del values["evaluation"]
        values |= {
            "output_dir": str(self.folder / f"run-{way.name.lower()}-{shape.groups}-{shape.micro_batches}"),
            "steps": shape.steps + 1,
            "seed": list(Way).index(way) + 100 * shape.groups + shape.steps,
            "data": {"prompts": str(prompts)},
            "checkpoint": {"every": shape.steps + 1},
            "tracking": {"trackers": []},
        }
        values["model"] |= {"path": str(self.model), "resolution": shape.resolution}
        values["rollout"] |= {"prompts_per_step": shape.groups, "micro_batches": shape.micro_batches}
        values["reward"] |= {"url": self.service_url, "rubric": "t2i@none", "tie_margin": 0.0}
        if way is Way.WINDOW:
            values["rollout"]["window"] = 3
        if way is Way.BFLOAT16:
            values["model"]["dtype"] = "bfloat16"
        return TrainConfig.model_validate(values)


def measure_row(way: Way, shape: Shape, place: Place) -> Row:
    """Train in this way, in a process of its own, and leave the first step out."""
    config = place.recipe(way, shape)
    num_processes = 2 if way is Way.TWO_PROCESSES else 1
    if way is Way.REFERENCE:
        measured, memory = in_new_process(measure_reference, config)
    elif num_processes == 1:
        measured, memory = in_new_process(measure_product, config, way is not Way.BATCHED, {})
    else:
        measured, memory = _on_processes(config, num_processes)
    return Row(way=way, shape=shape, measured=measured.without_first(), memory=memory, num_processes=num_processes)


def measure_rows(ways: Sequence[tuple[Way, Shape]], place: Place, *, on_row: Callable[[Row], None]) -> list[Row]:
    """One after the other; `on_row` hears of each as it is done."""
    rows = []
    for way, shape in ways:
        rows.append(measure_row(way, shape, place))
        on_row(rows[-1])
    return rows


def _on_processes(config: TrainConfig, num_processes: int) -> tuple[Measured, Memory]:
    """What the first of them says; each sees the variables that `accelerate launch` would set."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    sizes = {"WORLD_SIZE": str(num_processes), "LOCAL_WORLD_SIZE": str(num_processes)}
    ranks = [common | sizes | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(num_processes)]
    with ThreadPoolExecutor(num_processes) as pool:
        parts = list(pool.map(lambda rank: in_new_process(measure_product, config, True, rank), ranks))
    return parts[0]
