"""Every published layout, in small: what becomes a row, and what is refused for which reason."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from arr.pairs.dataset import open_dataset
from arr.pairs.formats import FORMATS, mismatch, probable_format
from arr.pairs.rows import LabelledRow, Reason, UnusableRow, ranks_of


def read(path: Path, name: str, *, seed: int = 0) -> tuple[list[LabelledRow], list[UnusableRow]]:
    items = list(open_dataset(path, FORMATS[name], split=None, seed=seed).items())
    rows = [item for item in items if isinstance(item, LabelledRow)]
    return rows, [item for item in items if isinstance(item, UnusableRow)]


def winners(rows: list[LabelledRow]) -> list[Any]:
    return [row.images[row.rank.index(1)] for row in rows]


def test_ranks_count_who_is_better() -> None:
    assert ranks_of([0.1, 0.9, 0.9, 0.5], highest_is_best=True) == (4, 1, 1, 3)
    assert ranks_of([3, 1, 2], highest_is_best=False) == (3, 1, 2)


# HPDv3


def hpdv3_pairs(num: int) -> list[dict[str, Any]]:
    return [
        {
            "prompt": f"prompt {n}",
            "choice_dist": [9, 1],
            "confidence": 0.99,
            "path1": f"images/good{n}.jpg",
            "path2": f"images/bad{n}.jpg",
            "model1": "flux",
            "model2": "sd2",
        }
        for n in range(num)
    ]


def test_hpdv3_prefers_path1_wherever_it_is_put(write_json: Callable[..., Path]) -> None:
    rows, refused = read(write_json("test.json", hpdv3_pairs(40)), "hpdv3")
    assert refused == []
    assert winners(rows) == [f"images/good{n}.jpg" for n in range(40)]


def test_hpdv3_puts_the_preferred_image_first_in_about_half_of_the_pairs(write_json: Callable[..., Path]) -> None:
    rows, _ = read(write_json("test.json", hpdv3_pairs(1000)), "hpdv3")
    assert 450 < sum(row.rank == (1, 2) for row in rows) < 550  # ±3.2 standard deviations of a fair coin


def test_hpdv3_sides_depend_on_the_seed_and_the_pair_alone(write_json: Callable[..., Path]) -> None:
    pairs = hpdv3_pairs(64)
    whole = read(write_json("train.json", pairs), "hpdv3")[0]
    part = read(write_json("test.json", pairs[40:]), "hpdv3")[0]
    other = read(write_json("train.json", pairs), "hpdv3", seed=1)[0]
    assert [row.rank for row in part] == [row.rank for row in whole[40:]]
    assert [row.rank for row in other] != [row.rank for row in whole]


def test_hpdv3_without_the_annotators_numbers_reads_the_same(write_json: Callable[..., Path]) -> None:
    bare = [{key: pair[key] for key in ("path1", "path2", "prompt")} for pair in hpdv3_pairs(3)]
    assert len(read(write_json("train/train_aes.json", bare), "hpdv3")[0]) == 3


def test_hpdv3_refuses_edits_that_come_in_its_layout(write_json: Callable[..., Path]) -> None:
    """Without their source they would be another task, and nobody would notice."""
    [edit, pair] = hpdv3_pairs(2)
    rows, refused = read(
        write_json("train.json", [edit | {"path_src": "before.png"}, pair | {"path_src": None}]), "hpdv3"
    )
    assert [row.prompt for row in rows] == ["prompt 1"]
    assert [(row.reason, "has path_src" in row.detail) for row in refused] == [(Reason.MALFORMED, True)]


# HPDv2


def test_hpdv2_training_pairs_mark_the_preferred_image_with_1(write_json: Callable[..., Path]) -> None:
    pairs = [
        {"prompt": "a", "file_path": ["0.jpg", "1.jpg"], "human_preference": [0, 1]},
        {"prompt": "b", "file_path": ["2.jpg", "3.jpg"], "human_preference": [1, 0]},
    ]
    rows, _ = read(write_json("train.json", pairs), "hpdv2")
    assert [(row.images, row.rank) for row in rows] == [(("0.jpg", "1.jpg"), (2, 1)), (("2.jpg", "3.jpg"), (1, 2))]


def test_hpdv2_test_rows_rank_nine_images_with_1_the_best(write_json: Callable[..., Path]) -> None:
    ranks = [6, 1, 3, 2, 9, 5, 4, 8, 7]
    row = {
        "prompt": "a",
        "image_path": [f"{n}.jpg" for n in range(9)],
        "rank": ranks,
        "raw_annotations": [{"rank": ranks, "user_hash": "x"}],
    }
    rows, _ = read(write_json("test.json", [row]), "hpdv2")
    assert rows[0].rank == tuple(ranks)
    assert winners(rows) == ["1.jpg"]


def test_hpdv2_rows_without_a_label_or_with_too_few_are_refused(write_json: Callable[..., Path]) -> None:
    rows = [
        {"prompt": "a", "file_path": ["0.jpg", "1.jpg"], "human_preference": None},
        {"prompt": "b", "file_path": ["0.jpg", "1.jpg"], "human_preference": [1]},
        {"prompt": "c", "file_path": ["0.jpg"], "human_preference": [1]},
    ]
    _, refused = read(write_json("train.json", rows), "hpdv2")
    assert [row.reason for row in refused] == [Reason.NO_LABEL, Reason.RANK_LENGTH, Reason.ONE_IMAGE]
    assert str(refused[1].place) == "train.json row 2"


# Pick-a-Pic


def pickapic_choice(picture: Callable[..., bytes], **changes: Any) -> dict[str, Any]:
    return {
        "are_different": True,
        "best_image_uid": "u0",
        "caption": "a red fox",
        "has_label": True,
        "image_0_uid": "u0",
        "image_1_uid": "u1",
        "jpg_0": picture(0, format="JPEG"),
        "jpg_1": picture(1, format="JPEG"),
        "label_0": 1.0,
        "label_1": 0.0,
        "model_0": "m",
        "model_1": "m",
        "ranking_id": 1,
        "user_id": 7,
    } | changes


def test_pickapic_labels_are_wins_and_halves_are_ties(
    write_parquet: Callable[..., Path], picture: Callable[..., bytes]
) -> None:
    rows, refused = read(
        write_parquet(
            "data/validation_unique-00000-of-00001-33ead111845fc9c4.parquet",
            [
                pickapic_choice(picture),
                pickapic_choice(picture, label_0=0.0, label_1=1.0),
                pickapic_choice(picture, label_0=0.5, label_1=0.5),
            ],
        ),
        "pickapic",
    )
    assert refused == []
    assert [row.rank for row in rows] == [(1, 2), (2, 1), (1, 1)]
    assert rows[0].images == (picture(0, format="JPEG"), picture(1, format="JPEG"))
    assert rows[0].place.split == "validation_unique"


def test_pickapic_rows_without_a_label_or_an_image_are_refused(
    write_parquet: Callable[..., Path], picture: Callable[..., bytes]
) -> None:
    rows = [
        pickapic_choice(picture, has_label=False, label_0=0.0, label_1=0.0),
        pickapic_choice(picture, label_0=float("nan")),
        pickapic_choice(picture, jpg_1=None),
        pickapic_choice(picture, caption=""),
    ]
    _, refused = read(write_parquet("data/test-00000-of-00014-387db523fa7e7121.parquet", rows), "pickapic")
    assert [row.reason for row in refused] == [Reason.NO_LABEL, Reason.NO_LABEL, Reason.NO_IMAGE, Reason.MALFORMED]


# ImageRewardDB


def ranked_image(prompt: int, image: int, rank: int) -> dict[str, Any]:
    return {
        "image_path": f"images/validation/validation_1/{prompt}-{image}.webp",
        "prompt_id": f"00{prompt}-0061",
        "prompt": f"prompt {prompt}",
        "classification": "Outdoor",
        "image_amount_in_total": 3,
        "rank": rank,
        "overall_rating": 5,
        "image_text_alignment_rating": 5,
        "fidelity_rating": 6,
    }


def test_imagereward_groups_the_images_of_a_prompt_over_folders_and_in_any_order(
    write_json: Callable[..., Path], tmp_path: Path
) -> None:
    write_json(
        "images/validation/validation_1/validation_1.json",
        [ranked_image(1, 0, 2), ranked_image(2, 0, 1), ranked_image(1, 1, 1), ranked_image(3, 0, 1)],
    )
    write_json("images/validation/validation_2/validation_2.json", [ranked_image(2, 1, 1), ranked_image(1, 2, 2)])
    rows, refused = read(tmp_path, "imagereward")
    assert [(row.prompt, len(row.images), row.rank) for row in rows] == [
        ("prompt 1", 3, (2, 1, 2)),
        ("prompt 2", 2, (1, 1)),
    ]
    assert rows[0].id == "001-0061"
    assert rows[0].place.split == "validation"
    assert [(row.reason, row.place.number) for row in refused] == [(Reason.ONE_IMAGE, 4)]


def test_imagereward_metadata_in_parquet_reads_the_same(write_parquet: Callable[..., Path]) -> None:
    path = write_parquet("metadata-validation.parquet", [ranked_image(1, 0, 2), ranked_image(1, 1, 1)])
    assert [row.rank for row in read(path, "imagereward")[0]] == [(2, 1)]


# MMRB2


def mmrb2_pair(picture: Callable[..., bytes], **changes: Any) -> dict[str, Any]:
    return {
        "pair_id": "oneig_1",
        "prompt_text": "a blue bird",
        "prompt_images": [],
        "prompt_source": "oneig",
        "response_a_text": "<image_1>",
        "response_a_images": [{"bytes": picture(1), "path": None}],
        "response_a_model": "m1",
        "response_b_text": "<image_1>",
        "response_b_images": [{"bytes": picture(2), "path": None}],
        "response_b_model": "m2",
        "chosen": "A",
    } | changes


def test_mmrb2_parquet_makes_the_prompts_image_the_source(
    write_parquet: Callable[..., Path], picture: Callable[..., bytes]
) -> None:
    image = {"bytes": picture(0), "path": None}
    pairs = [
        mmrb2_pair(picture, prompt_text="<image_1> make it blue", prompt_images=[image]),
        mmrb2_pair(picture, pair_id="2", prompt_text="put <image_1>\nin a hat", prompt_images=[image], chosen="b"),
    ]
    rows, refused = read(write_parquet("edit/test-00000-of-00001.parquet", pairs), "mmrb2")
    assert refused == []
    assert [(row.prompt, row.rank, row.source) for row in rows] == [
        ("make it blue", (1, 2), picture(0)),
        ("put in a hat", (2, 1), picture(0)),
    ]
    assert rows[0].place.split == "edit"


def test_mmrb2_rows_that_are_no_pair_of_images_are_refused_with_a_reason_each(
    write_parquet: Callable[..., Path], picture: Callable[..., bytes]
) -> None:
    image = {"bytes": picture(0), "path": None}
    pairs = [
        mmrb2_pair(picture, prompt_images=[image, image], prompt_text="<image_1> in the style of <image_2>"),
        mmrb2_pair(picture, response_a_images=[]),
        mmrb2_pair(picture, response_b_images=[image, image]),
        mmrb2_pair(picture, chosen="tie"),
        mmrb2_pair(picture, prompt_text="<image_1>", prompt_images=[image]),
    ]
    _, refused = read(write_parquet("test.parquet", pairs), "mmrb2")
    assert [row.reason for row in refused] == [
        *(Reason.SEVERAL_SOURCES, Reason.NOT_ONE_IMAGE, Reason.NOT_ONE_IMAGE, Reason.NO_LABEL, Reason.MALFORMED),
    ]


def test_mmrb2_json_of_its_build_script_reads_like_the_parquet(write_json: Callable[..., Path]) -> None:
    pair = {
        "id": "emu_7",
        "prompt_content": [["image", "input_images/emu_7_prompt_0.png"], ["text", "remove the car"]],
        "prompt_source": "emu_edit",
        "prompt_metadata": {"id": 7},
        "response_a": {"model_name": "m1", "response_content": [["image", "images/emu_7_a_0.png"]]},
        "response_b": {"model_name": "m2", "response_content": [["text", "Sure."], ["image", "images/emu_7_b_0.png"]]},
        "chosen": "B",
        "human_annotations": [6, 6, 5],
    }
    rows, _ = read(write_json("edit.json", {"pairs": [pair]}), "mmrb2")
    assert rows == [
        LabelledRow(
            place=rows[0].place,
            prompt="remove the car",
            images=("images/emu_7_a_0.png", "images/emu_7_b_0.png"),
            rank=(2, 1),
            source="input_images/emu_7_prompt_0.png",
            id="emu_7",
        )
    ]


# EditReward-Bench


@pytest.mark.parametrize(
    ("ranking", "rank"),
    [
        *[
            ("A>B", (1, 2)),
            ("B>A", (2, 1)),
            ("A<B", (2, 1)),
            ("A=B", (1, 1)),
            ("A=B=Good", (1, 1)),
            ("A=B=Bad", (1, 1)),
        ],
        *[("A>C", (1, 2)), ("C>A", (2, 1)), ("B>C", (1, 2)), ("C>B", (2, 1)), ("D > B", (2, 1))],
    ],
)
def test_editreward_rankings(
    write_parquet: Callable[..., Path], picture: Callable[..., bytes], ranking: str, rank: tuple[int, int]
) -> None:
    row = {
        "id": "0_AvsB",
        "dataset": "2pair",
        "instruction": "make the sky red",
        "source_image": {"bytes": picture(0), "path": "source.png"},
        "candidate_1": {"bytes": picture(1), "path": "1.png"},
        "candidate_2": {"bytes": picture(2), "path": "2.png"},
        "ranking": ranking,
        "comparison_type": "AvsB",
    }
    rows, refused = read(write_parquet("2pair/train-00000-of-00001.parquet", [row]), "editreward")
    assert refused == []
    assert (rows[0].prompt, rows[0].rank, rows[0].source) == ("make the sky red", rank, picture(0))
    assert rows[0].images == (picture(1), picture(2))
    assert rows[0].place.split == "2pair"


def test_editreward_rows_without_a_ranking_or_a_source_are_refused(
    write_parquet: Callable[..., Path], picture: Callable[..., bytes]
) -> None:
    whole = {"instruction": "x", "source_image": picture(0), "candidate_1": picture(1), "candidate_2": picture(2)}
    rows = [
        *[{**whole, "ranking": ranking} for ranking in ("A", "A>A", "A>B>C", None)],
        {**whole, "source_image": None, "ranking": "A>B"},
    ]
    _, refused = read(write_parquet("4pair/train-00000-of-00004.parquet", rows), "editreward")
    assert [row.reason for row in refused] == [*[Reason.NO_LABEL] * 4, Reason.NO_IMAGE]


# Plain JSON


def test_plain_rows_take_ranks_scores_and_the_references_names(write_json: Callable[..., Path]) -> None:
    rows, refused = read(
        write_json(
            "pairs.json",
            [
                {"prompt": "a", "images": ["0.png", "1.png"], "rank": [2, 1]},
                {"query": "b", "generated_images": ["0.png", "1.png", "2.png"], "label_rank": [3, 1, 1]},
                {
                    "instruction": "c",
                    "edited_images": ["0.png", "1.png"],
                    "label_score": [1.5, 9],
                    "base_image": "s.png",
                },
                {"prompt": "d", "images": ["0.png", "1.png"]},
            ],
        ),
        "json",
    )
    assert [(row.prompt, row.rank, row.source) for row in rows] == [
        *[("a", (2, 1), None), ("b", (3, 1, 1), None), ("c", (2, 1), "s.png")],
    ]
    assert rows[2].score == (1.5, 9.0)
    assert [(row.place.number, row.reason) for row in refused] == [(4, Reason.MALFORMED)]
    assert "neither" in refused[0].detail


def test_a_bad_line_of_json_lines_does_not_hide_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    good = '{"prompt": "a", "images": ["0.png", "1.png"], "rank": [2, 1]}'
    path.write_text(f"{good}\n\n{{broken\n[1]\n{good}\n")
    rows, refused = read(path, "json")
    assert len(rows) == 2
    assert [(row.place.number, row.reason) for row in refused] == [(2, Reason.MALFORMED), (3, Reason.MALFORMED)]


# Naming the wrong one

RECORDS = {
    "hpdv3": {"prompt", "path1", "path2", "confidence", "model1", "model2", "choice_dist"},
    "hpdv2": {"prompt", "image_path", "rank", "raw_annotations"},
    "pickapic": {"caption", "jpg_0", "jpg_1", "label_0", "label_1", "has_label"},
    "imagereward": {"prompt_id", "prompt", "image_path", "rank", "classification"},
    "mmrb2": {"pair_id", "prompt_text", "prompt_images", "response_a_images", "response_b_images", "chosen"},
    "editreward": {"id", "instruction", "source_image", "candidate_1", "candidate_2", "ranking"},
    "json": {"query", "responses", "label_rank"},
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_known_by_the_keys_of_its_records(name: str) -> None:
    found = probable_format(frozenset(RECORDS[name]))
    assert found is not None
    assert found.name == name


def test_a_wrong_format_is_answered_with_the_right_one() -> None:
    line = mismatch(FORMATS["hpdv3"], frozenset(RECORDS["pickapic"]), file="a.parquet")
    assert line == (
        "a.parquet is not hpdv3: its records have the keys caption, has_label, jpg_0, jpg_1, label_0, label_1; "
        "that looks like pickapic: --format pickapic"
    )


def test_records_of_no_format_are_answered_with_what_is_needed() -> None:
    line = mismatch(FORMATS["hpdv3"], frozenset({"text", "label"}), file="a.json")
    assert "hpdv3 needs path1, path2, prompt" in line
