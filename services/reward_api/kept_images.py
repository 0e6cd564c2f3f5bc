"""Whose images are kept beside the audit trail, and how many of them may wait to be stored.

The one rule: what is kept is decided by the images alone, so that the same pair is always kept or never.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias

from services.judging.images import JudgeImage
from services.judging.questions import ImageQuestion, PairQuestion
from services.reward_api.settings import AuditImages

SAMPLE_ONE_IN = 100
"""With `AuditImages.SAMPLE`, the images of one judgement in so many are kept."""

Question: TypeAlias = PairQuestion | ImageQuestion


def wants_images(policy: AuditImages, question: Question) -> bool:
    """Whether the images of `question` shall be kept."""
    match policy:
        case AuditImages.NONE:
            return False
        case AuditImages.SAMPLE:
            return is_sampled(question)
        case AuditImages.ALL:
            return True


def is_sampled(question: Question) -> bool:
    """Whether it belongs to the sample: by the digests of its candidates, in any order."""
    unordered = "\n".join(sorted(image.digest for image in candidates_of(question)))
    return int.from_bytes(hashlib.sha256(unordered.encode()).digest()) % SAMPLE_ONE_IN == 0


def candidates_of(question: Question) -> tuple[JudgeImage, ...]:
    """The one or two images that are judged."""
    return (question.image,) if isinstance(question, ImageQuestion) else (question.first, question.second)


def images_of(question: Question) -> tuple[JudgeImage, ...]:
    """The images of a question: the candidates, then the source of an edit; a guide's are its dataset's to keep."""
    candidates = candidates_of(question)
    return candidates if question.source is None else (*candidates, question.source)


class HeldImages:
    """Counts the bytes of images that wait to be stored, an image that several judgements share once."""

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._sizes: dict[str, int] = {}
        self._num_holders: Counter[str] = Counter()
        self._num_bytes = 0

    def hold(self, images: Sequence[JudgeImage]) -> bool:
        """Whether there was room for `images`, which are then held until they are released."""
        new = {image.digest: len(image.png) for image in images if image.digest not in self._sizes}
        if self._num_bytes + sum(new.values()) > self._max_bytes:
            return False
        self._num_bytes += sum(new.values())
        self._sizes |= new
        self._num_holders.update(image.digest for image in images)
        return True

    def release(self, images: Sequence[JudgeImage]) -> None:
        """Give back what one `hold` took."""
        for image in images:
            self._num_holders[image.digest] -= 1
            if self._num_holders[image.digest] == 0:
                del self._num_holders[image.digest]
                self._num_bytes -= self._sizes.pop(image.digest)
