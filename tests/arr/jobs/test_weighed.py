"""What a terminal says of a weighted set."""

import pytest

from arr.jobs.learned import print_learned
from shared_schemas.autorubric import BucketCounts, LearningRound, SparseSelection, WeighedCriterion
from tests.arr.made_up_results import learn_result, learned_version

NONE = BucketCounts(small_margin=0, large_margin=0, high_reward=0)


def criterion(statement: str, weight: float) -> WeighedCriterion:
    return WeighedCriterion(
        id="c1", theme="Theme", statement=statement, weight=weight, stability=None, answered_share=1.0
    )


SPARSE = SparseSelection(
    rounds=(
        LearningRound(
            round=0,
            num_candidates=40,
            num_new=40,
            num_nonzero=12,
            num_kept=8,
            c=0.5,
            train_accuracy=0.9,
            validation_accuracy=0.85,
            misranked=NONE,
            drawn=NONE,
            num_worn_out=0,
        ),
    ),
    best_round=0,
    path=(),
    kept=(criterion("The sky is blue.", 2.0),),
    negative=(criterion("The image is dark.", -1.5),),
    stable=(),
    stable_accuracy=None,
    dropped=(criterion("Nobody knows.", 0.0),),
    redundancy=((1.0,),),
    num_pairs=256,
    num_pairs_left_out=3,
)


def test_rounds_weights_and_what_people_decide_against_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    print_learned(learn_result(sparse=SPARSE, num_candidates=40, num_selected=1), learned_version())
    said = " ".join(capsys.readouterr().out.split())
    assert "rounds 1; the best is 0, 85% of the validation part" in said
    assert "40 weighed on 256 pairs, 1 kept" in said
    assert "0 stable" in said
    assert "1 dropped" in said
    assert "against people The image is dark. (-1.50)" in said
    assert "proposals" not in said
