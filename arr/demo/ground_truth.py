"""The truth about a drawing: a small classifier of shape, colour and "is it a clean drawing at all".

Owns the demo's second opinion. It learns from renders alone and shares no code and no measurement with the judge, so
where training with rewards drifts towards what only the judge likes, the two part and the report shows it.

The one rule: a match needs all three – the right shape, the right colour, and a clean drawing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from arr.demo.flawed_shapes import Flaw, render_flawed
from arr.demo.shapes import DRAWINGS, Colour, Drawing, Pixels, Shape, render
from arr.demo.stages import Progress, silent

_SHAPES, _COLOURS = list(Shape), list(Colour)

_VERSION = 1
"""Raise when drawings, flaws or network change, so that a cached classifier is not taken for the new one."""

_NUM_DRAWINGS = 8000
_NUM_STEPS = 600
_BATCH = 96
_LEARNING_RATE = 3e-3


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdicts:
    """What the classifier sees in N images, all values from 0 to 1."""

    shape: NDArray[np.float32]
    """[N, 3], probabilities in the order of `Shape`."""
    colour: NDArray[np.float32]
    """[N, 5], probabilities in the order of `Colour`."""
    clean: NDArray[np.float32]
    """[N], probability that it is one flat, undistorted, filled shape."""

    def agree_with(self, prompts: Sequence[str]) -> NDArray[np.bool_]:
        """Which images are clean drawings of their own prompt: [N]."""
        asked = [Drawing.parse(prompt) for prompt in prompts]
        right_shape = self.shape.argmax(1) == [_SHAPES.index(drawing.shape) for drawing in asked]
        right_colour = self.colour.argmax(1) == [_COLOURS.index(drawing.colour) for drawing in asked]
        return np.asarray(right_shape & right_colour & (self.clean > 0.5))


class GroundTruth:
    """A trained classifier. Make one with `train_ground_truth` or `GroundTruth.load`."""

    def __init__(self, network: nn.Module) -> None:
        """Wrap a trained network; not for callers."""
        self._network = network.eval()

    @torch.no_grad()
    def verdicts(self, images: Pixels) -> Verdicts:
        """Look at images, uint8 [N, 32, 32, 3]."""
        shape, colour, clean = self._network(_as_input(images)).split([len(_SHAPES), len(_COLOURS), 1], dim=1)
        return Verdicts(
            shape=shape.softmax(1).numpy(), colour=colour.softmax(1).numpy(), clean=clean[:, 0].sigmoid().numpy()
        )

    def matches(self, images: Pixels, prompts: Sequence[str]) -> NDArray[np.bool_]:
        """Which images, uint8 [N, 32, 32, 3], are clean drawings of their own prompt: [N]."""
        return self.verdicts(images).agree_with(prompts)

    def save(self, path: Path) -> None:
        """Write the weights as safetensors."""
        unfinished = path.with_name(f".{path.name}.unfinished")
        save_file(self._network.state_dict(), unfinished)
        unfinished.rename(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        network = _network()
        network.load_state_dict(load_file(path))
        return cls(network)


def train_ground_truth(
    *,
    seed: int,
    progress: Progress = silent,
    num_steps: int = _NUM_STEPS,
    num_drawings: int = _NUM_DRAWINGS,
) -> GroundTruth:
    """Train on clean and flawed renders, about fifteen seconds. Equal seeds give equal weights on one machine."""
    rng = np.random.default_rng(seed)
    examples = _examples(rng, num_drawings=num_drawings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=_LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=num_steps)
    for step in range(num_steps):
        loss = _loss(network, examples.batch(rng))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        progress("ground truth", step + 1, num_steps)
    return GroundTruth(network)


def ensure_ground_truth(cache_dir: Path, *, progress: Progress = silent) -> GroundTruth:
    """The classifier of this recipe, trained if the cache does not hold it."""
    recipe = f"{_VERSION}-{_NUM_DRAWINGS}-{_NUM_STEPS}"
    path = cache_dir / f"ground-truth-{recipe}.safetensors"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        train_ground_truth(seed=0, progress=progress).save(path)
    return GroundTruth.load(path)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Examples:
    """Images [N, 3, 32, 32] with their labels [N]."""

    images: Tensor
    shapes: Tensor
    colours: Tensor
    clean: Tensor

    def batch(self, rng: np.random.Generator) -> Self:
        """Draw at random, and vary: a little blur, noise and tint change no label."""
        chosen = torch.from_numpy(rng.integers(len(self.images), size=_BATCH))
        return type(self)(
            images=_varied(self.images[chosen], rng),
            shapes=self.shapes[chosen],
            colours=self.colours[chosen],
            clean=self.clean[chosen],
        )


def _examples(rng: np.random.Generator, *, num_drawings: int) -> _Examples:
    """Renders, half of them clean, half with one flaw."""
    drawings = [DRAWINGS[index] for index in rng.integers(len(DRAWINGS), size=num_drawings)]
    flaws = [None if rng.random() < 0.5 else list(Flaw)[rng.integers(len(Flaw))] for _ in drawings]
    pixels = np.stack(
        [
            render(drawing, rng) if flaw is None else render_flawed(drawing, flaw, rng)
            for drawing, flaw in zip(drawings, flaws, strict=True)
        ]
    )
    return _Examples(
        images=_as_input(pixels),
        shapes=torch.tensor([_SHAPES.index(drawing.shape) for drawing in drawings]),
        colours=torch.tensor([_COLOURS.index(drawing.colour) for drawing in drawings]),
        clean=torch.tensor([flaw is None for flaw in flaws]),
    )


def _loss(network: nn.Module, examples: _Examples) -> Tensor:
    """Cross-entropies of all three answers; shape and colour are only asked about clean drawings."""
    shape, colour, clean = network(examples.images).split([len(_SHAPES), len(_COLOURS), 1], dim=1)
    known = examples.clean
    return (
        F.cross_entropy(shape[known], examples.shapes[known])
        + F.cross_entropy(colour[known], examples.colours[known])
        + F.binary_cross_entropy_with_logits(clean[:, 0], known.float())
    )


def _varied(images: Tensor, rng: np.random.Generator) -> Tensor:
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    num = len(images)
    blur = torch.rand(num, 1, 1, 1, generator=generator) * 0.4
    soft = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    tint = torch.randn(num, 3, 1, 1, generator=generator) * 0.03
    noise = torch.randn(images.shape, generator=generator) * torch.rand(num, 1, 1, 1, generator=generator) * 0.04
    return torch.lerp(images, soft, blur) + tint + noise


def _as_input(images: Pixels) -> Tensor:
    """uint8 [N, 32, 32, 3] to float32 [N, 3, 32, 32] in -1 to 1."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def _network() -> nn.Sequential:
    """Three convolutions and two linear layers to 3 + 5 + 1 logits."""
    return nn.Sequential(
        *_convolution(3, 32, stride=2),
        *_convolution(32, 48, stride=2),
        *_convolution(48, 64, stride=2),
        nn.Flatten(),
        nn.Linear(64 * 4 * 4, 96),
        nn.ReLU(),
        nn.Linear(96, len(_SHAPES) + len(_COLOURS) + 1),
    )


def _convolution(inputs: int, outputs: int, *, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
