"""Pictures seen lately: both orders of a pair, all criteria of an image, all pairs of a group decode it once.

Owns what pictures are known by; refuses to know what is measured.
"""

import hashlib

from services.judging.pixel_judge.picture import Picture
from services.judging.pixel_judge.properties import Sight
from services.judging.recent import Recent

_ROOM_BYTES = 64 << 20
"""Seventy images of 512×512, 1,800 of 32×32."""


class Gallery:
    """Decoded images by their bytes, and what was measured on them by image, prompt and source; for any thread."""

    def __init__(self, *, room_bytes: int = _ROOM_BYTES) -> None:
        self._pictures: Recent[bytes, Picture] = Recent(room_bytes=room_bytes)
        self._sights: Recent[tuple[bytes, str, bytes | None], Sight] = Recent(room_bytes=room_bytes)

    def sight(self, png: bytes, *, prompt: str, source: bytes | None) -> Sight:
        """One image as an answer to a prompt. Raises `PictureError` for an image that cannot be decoded."""

        def look() -> Sight:
            original = None if source is None else self._picture(source)
            return Sight(picture=self._picture(png), prompt=prompt, source=original)

        return self._sights.get((_digest(png), prompt, None if source is None else _digest(source)), look)

    def _picture(self, png: bytes) -> Picture:
        return self._pictures.get(_digest(png), lambda: Picture.decode(png))


def _digest(png: bytes) -> bytes:
    return hashlib.sha256(png).digest()
