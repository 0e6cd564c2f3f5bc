import numpy as np
import pytest
import torch

from reward_client import CandidateGroup
from reward_client.groups import encode_groups


def picture(level: float) -> np.ndarray:
    return np.full((3, 4, 4), level, dtype=np.float32)


def test_a_picture_that_groups_share_is_sent_once() -> None:
    shared, other, source = picture(0.1), picture(0.2), picture(0.3)
    encoded = encode_groups(
        [CandidateGroup("a", [shared, other], source=source), CandidateGroup("b", [other, shared], source=source)]
    )
    assert len(encoded.images) == 3
    first, second = encoded.groups
    assert first.candidates == second.candidates[::-1]
    assert first.source == second.source


def test_equal_pictures_of_different_objects_are_different_parts() -> None:
    encoded = encode_groups([CandidateGroup("a", [picture(0.5), picture(0.5)])])
    assert len(encoded.images) == 2


def test_groups_are_named_by_position_unless_they_have_a_name() -> None:
    pair = [picture(0.0), picture(1.0)]
    encoded = encode_groups(
        [CandidateGroup("a", pair), CandidateGroup("b", pair, id="mine"), CandidateGroup("c", pair)]
    )
    assert [group.id for group in encoded.groups] == ["g0", "mine", "g2"]


@pytest.mark.parametrize(
    "batch", [np.stack([picture(0.0), picture(1.0)]), torch.tensor([0.0, 1.0]).expand(3, 4, 4, 2).permute(3, 0, 1, 2)]
)
def test_a_batch_is_a_group_of_its_pictures(batch) -> None:
    encoded = encode_groups([CandidateGroup("a", batch)])
    assert len(encoded.images) == 2
    assert encoded.num_candidates == 2


def test_the_group_at_fault_is_named() -> None:
    good = CandidateGroup("a", [picture(0.0), picture(1.0)])
    with pytest.raises(ValueError, match="group g1: float pixels"):
        encode_groups([good, CandidateGroup("b", [picture(2.0), picture(1.0)])])
    with pytest.raises(ValueError, match="group mine"):
        encode_groups([CandidateGroup("c", [], id="mine")])


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("", "prompt: String should have at least 1 character"),
        (7, "prompt: Input should be a valid string"),
        ("a\x00b", "prompt: contains the control character U\\+0000"),
    ],
)
def test_a_prompt_that_cannot_be_sent_is_told_in_one_line(prompt, message) -> None:
    with pytest.raises(ValueError, match=f"^group g0: {message}$"):
        encode_groups([CandidateGroup(prompt, [picture(0.0), picture(1.0)])])


def test_no_groups_are_nothing_to_judge() -> None:
    with pytest.raises(ValueError, match="empty"):
        encode_groups([])
