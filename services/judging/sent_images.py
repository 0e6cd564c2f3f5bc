"""Which images a server has seen, so that a further question about one can name it and leave its bytes out.

Owns a guess at the image cache of one vLLM. Refuses to be relied on: a wrong guess costs one request, never an answer.
"""

from collections import OrderedDict
from collections.abc import Collection

_FEWEST = -8
"""Hits less misses at which names are no longer tried: several servers behind one address, or one without a cache."""


class SentImages:
    """The `capacity` images, by digest, that one server answered questions about last.

    vLLM's cache holds 4 GiB by default, which is a few hundred images of 1024² pixels; the questions about one image
    come close together.
    """

    def __init__(self, *, capacity: int = 256) -> None:
        self._digests: OrderedDict[str, None] = OrderedDict()
        self._capacity = capacity
        self._balance = 0

    def known(self, digests: Collection[str]) -> frozenset[str]:
        """Those whose bytes can probably be left out."""
        if self._balance <= _FEWEST:
            return frozenset()
        return frozenset(digest for digest in digests if digest in self._digests)

    def answered(self, digests: Collection[str]) -> None:
        """A question with these images was answered, so the server has seen them."""
        for digest in digests:
            self._digests[digest] = None
            self._digests.move_to_end(digest)
        while len(self._digests) > self._capacity:
            self._digests.popitem(last=False)

    def hit(self, digests: Collection[str]) -> None:
        """These names were enough; there may be none."""
        if digests:
            self._balance = min(self._balance + 1, 0)

    def missed(self, digests: Collection[str]) -> None:
        """Names were not enough, bytes were."""
        self._balance -= 1
        for digest in digests:
            self._digests.pop(digest, None)
