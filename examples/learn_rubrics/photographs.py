"""Real photographs that are on every machine with scikit-image: they come with the package, and nothing is downloaded.

Owns which photographs, and what an instruction calls them. Their licences stand in scikit-image's documentation of
`skimage.data`.
"""

from dataclasses import dataclass
from importlib.resources import as_file, files

from PIL import Image

LONGEST_SIDE = 256
"""Pixels; larger photographs are scaled down."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Photograph:
    """One picture to edit."""

    subject: str
    """As an instruction names it: "a cat"."""
    image: Image.Image
    """RGB."""


_FILES = {
    "astronaut.png": "an astronaut",
    "chelsea.png": "a cat",
    "coffee.png": "a cup of coffee",
    "rocket.jpg": "a rocket",
    "motorcycle_left.png": "a motorcycle",
    "hubble_deep_field.jpg": "far galaxies",
    "retina.jpg": "a retina",
    "camera.png": "a cameraman",
    "brick.png": "a wall",
    "grass.png": "grass",
    "coins.png": "coins",
    "moon.png": "the moon",
}


def photographs() -> list[Photograph]:
    """All of them, always in the same order."""
    return [Photograph(subject=subject, image=_read(name)) for name, subject in _FILES.items()]


def _read(name: str) -> Image.Image:
    with as_file(files("skimage") / "data" / name) as path, Image.open(path) as stored:
        image = stored.convert("RGB")
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.BOX)
    return image
