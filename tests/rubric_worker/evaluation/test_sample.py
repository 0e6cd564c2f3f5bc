from services.rubric_worker.evaluation.sample import sampled
from services.rubric_worker.labelled_pairs import LabelledPair, pairs_of
from shared_schemas.datasets import DatasetRow


def pairs(num: int) -> tuple[LabelledPair, ...]:
    images = [f"sha256:{index:064x}" for index in range(num + 1)]
    return pairs_of(
        DatasetRow(prompt=f"prompt {n}", images=(images[n], images[n + 1]), rank=(1, 2)) for n in range(num)
    )


def test_all_pairs_are_taken_when_there_is_no_limit_or_no_more() -> None:
    assert sampled(pairs(5), max_pairs=None, seed=0) == sampled(pairs(5), max_pairs=5, seed=0) == pairs(5)


def test_a_sample_is_in_order_and_depends_on_the_seed_alone() -> None:
    everything = pairs(50)
    one, same, other = (sampled(everything, max_pairs=10, seed=seed) for seed in (1, 1, 2))
    assert one == same != other
    assert len(one) == 10
    assert sorted(one, key=everything.index) == list(one)
    assert set(sampled(everything[::-1], max_pairs=10, seed=1)) == set(one)


def test_a_larger_sample_holds_the_smaller_one() -> None:
    everything = pairs(50)
    assert set(sampled(everything, max_pairs=10, seed=0)) < set(sampled(everything, max_pairs=20, seed=0))
