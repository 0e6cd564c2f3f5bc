"""Images that came with a `uuid`, so that a later question may name one and leave its bytes out, as vLLM allows.

The one rule: a name that is not known is refused in vLLM's words, and never answered as if nothing had been shown.
"""

from dataclasses import dataclass
from functools import partial

from services.judging.pixel_judge.parsing import ChatRequest, ImageUrl, QuestionError
from services.judging.recent import Recent

_ROOM_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class _Kept:
    address: ImageUrl

    @property
    def num_bytes(self) -> int:
        return len(self.address.url)


class NamedImages:
    """The images named last, for any thread."""

    def __init__(self, *, room_bytes: int = _ROOM_BYTES) -> None:
        self._kept: Recent[str, _Kept] = Recent(room_bytes=room_bytes)

    def fill_in(self, chat: ChatRequest) -> None:
        """Keep what has bytes and a name, and put the bytes where there is a name only. Raises `QuestionError`."""
        for index, part in enumerate(chat.image_parts):
            if part.uuid is None:
                continue
            if part.image_url is not None:
                self._kept.get(part.uuid, partial(_Kept, part.image_url))
            elif (kept := self._kept.kept(part.uuid)) is not None:
                part.image_url = kept.address
            else:
                raise QuestionError(f"Cache miss for image at index {index} but data is not provided.")
