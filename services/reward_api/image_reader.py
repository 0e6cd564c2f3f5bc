"""The images of a request, read off the event loop: on several cores, and each file once while it is remembered.

A trainer that tries again, resumes, or shows one image in several requests sends the same bytes again. The one rule: of
several images that cannot be read, the first in the request is told.
"""

import asyncio
import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import partial

from services.judging.images import InvalidImageError, JudgeImage, read_png
from services.judging.recent import Recent
from services.reward_api.errors import InvalidImage

_ROOM_BYTES = 256 << 20
"""Two hundred images of 512×512."""

_NUM_THREADS = min(4, os.cpu_count() or 1)
"""For one request; inflating and hashing let other threads run."""


class ImageReader:
    """Reads PNG files as the judge gets them."""

    def __init__(self, *, max_pixels: int, max_side: int, judge_max_pixels: int) -> None:
        """The limits of `read_png`."""
        self._max_pixels = max_pixels
        self._max_side = max_side
        self._judge_max_pixels = judge_max_pixels
        self._recent: Recent[bytes, JudgeImage] = Recent(room_bytes=_ROOM_BYTES)

    async def read_all(self, files: Mapping[str, bytes]) -> dict[str, JudgeImage]:
        """Every file as an image, by name. Raises `InvalidImage`, which names it."""
        names = list(files)
        shares = [names[start::_NUM_THREADS] for start in range(_NUM_THREADS)]
        found = await asyncio.gather(*(asyncio.to_thread(self._read_some, files, share) for share in shares if share))
        read = {name: image for some in found for name, image in some.items()}
        for name in names:
            if isinstance(image := read.get(name), InvalidImageError):
                raise InvalidImage(f"the image {name!r} cannot be judged: {image}", part=name) from image
        return {name: image for name, image in read.items() if isinstance(image, JudgeImage)}

    def _read_some(self, files: Mapping[str, bytes], names: Sequence[str]) -> dict[str, JudgeImage | InvalidImageError]:
        """Up to the first that cannot be read."""
        read: dict[str, JudgeImage | InvalidImageError] = {}
        for name in names:
            data = files[name]
            try:
                read[name] = self._recent.get(hashlib.sha256(data).digest(), partial(self._read, data))
            except InvalidImageError as error:
                read[name] = error
                break
        return read

    def _read(self, data: bytes) -> JudgeImage:
        return read_png(
            data, max_pixels=self._max_pixels, max_side=self._max_side, judge_max_pixels=self._judge_max_pixels
        )
