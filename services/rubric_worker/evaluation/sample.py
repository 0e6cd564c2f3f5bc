"""Which labelled pairs are judged when not all of them are."""

from collections.abc import Sequence

from services.rubric_worker.labelled_pairs import LabelledPair
from services.rubric_worker.seeds import derived_seed


def sampled(labelled: Sequence[LabelledPair], *, max_pairs: int | None, seed: int) -> tuple[LabelledPair, ...]:
    """At most `max_pairs` of the pairs, in their order; None = all.

    A larger sample of the same seed contains the smaller one, so that widening it asks about the new pairs alone.
    """
    if max_pairs is None or len(labelled) <= max_pairs:
        return tuple(labelled)
    drawn = sorted(range(len(labelled)), key=lambda place: (_lot(labelled[place], seed), place))[:max_pairs]
    return tuple(labelled[place] for place in sorted(drawn))


def _lot(one: LabelledPair, seed: int) -> int:
    """A number that depends on what the pair shows, not on where it stands."""
    return derived_seed(seed, "sample", one.row, one.pair.first, one.pair.second)
