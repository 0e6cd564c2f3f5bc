from hypothesis import given
from hypothesis import strategies as st

from services.rubric_worker.seeds import derived_seed

paths = st.lists(st.text(max_size=5) | st.integers(-5, 5), max_size=3)


@given(st.integers(-(2**70), 2**70), paths)
def test_a_derived_seed_is_a_seed_that_servers_take(seed: int, path: list[str | int]) -> None:
    assert 0 <= derived_seed(seed, *path) < 2**31
    assert derived_seed(seed, *path) == derived_seed(seed, *path)


def test_items_have_seeds_of_their_own() -> None:
    stages, items = ("propose", "verify"), (*range(200), *map(str, range(200)))
    seeds = {derived_seed(seed, stage, item) for seed in range(2) for stage in stages for item in items}
    assert len(seeds) == 2 * 2 * 400


def test_a_derived_seed_is_the_same_on_every_machine_and_in_every_release() -> None:
    assert derived_seed(0, "propose", 3) == 1585510840  # the first 31 bits of sha256('[0,"propose",3]')
