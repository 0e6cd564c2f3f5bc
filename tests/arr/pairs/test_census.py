"""What is counted, and what is told about it."""

import io
import json
import re
from collections.abc import Iterator, Sequence
from itertools import count

import pytest
from rich.console import Console

from arr.pairs.census import Census
from arr.pairs.pictures import IllustratedRow, Picture
from arr.pairs.report import MAX_LISTED, as_json, print_report
from arr.pairs.rows import Place, Reason, UnusableRow
from shared_schemas.datasets import UploadedRow

DIGESTS: Iterator[int] = count()


def place(number: int = 1, split: str | None = "test") -> Place:
    return Place(file="test.json", number=number, split=split)


def image() -> Picture:
    return Picture(data=b"", digest=f"{next(DIGESTS):064x}", suffix=".png")


def row(
    rank: Sequence[int],
    *,
    prompt: str = "a prompt",
    images: Sequence[Picture] = (),
    source: Picture | None = None,
    split: str | None = "test",
) -> IllustratedRow:
    shown = tuple(images) or tuple(image() for _ in rank)
    content = {"prompt": prompt, "images": [each.name for each in shown], "rank": list(rank)}
    return IllustratedRow(
        place=place(split=split), content=UploadedRow.model_validate(content), images=shown, source=source
    )


def census_of(*rows: IllustratedRow | UnusableRow) -> Census:
    census = Census()
    for each in rows:
        census.add(each)
    return census


def test_rows_are_counted_by_images_splits_ties_and_sources() -> None:
    census = census_of(
        row([1, 2]), row([1, 1]), row([2, 1, 3], split="train"), row([1, 1, 2], source=image()), row([2, 2], split=None)
    )
    assert census.num_rows == 5
    assert census.candidates == {2: 3, 3: 2}
    assert census.splits == {"test": 3, "train": 1, "(none)": 1}
    assert census.num_ties == 3  # one in each of 1 1, 1 1 2 and 2 2
    assert census.num_with_source == 1


def test_balance_counts_the_pairs_of_a_row_whose_better_image_stands_first() -> None:
    # 1 2 → first better; 2 1 3 → no, yes, yes; 1 1 2 → tie, yes, yes; 1 1 → tie
    census = census_of(row([1, 2]), row([2, 1, 3]), row([1, 1, 2]), row([1, 1]))
    assert census.num_decided_pairs == 6
    assert census.num_first_better == 5
    assert census.first_better_share == pytest.approx(5 / 6)


def test_a_dataset_of_ties_has_no_balance() -> None:
    assert census_of(row([1, 1])).first_better_share is None


@pytest.mark.parametrize(("num_first", "num_second", "unbalanced"), [(50, 50, False), (62, 38, False), (63, 37, True)])
def test_balance_is_told_when_a_coin_would_not_give_it(num_first: int, num_second: int, unbalanced: bool) -> None:
    # 100 fair coins: standard deviation 5, 2.576 of them are 12.88 more than 50.
    census = census_of(*[row([1, 2])] * num_first, *[row([2, 1])] * num_second)
    assert census.is_unbalanced is unbalanced


def test_a_duplicate_has_the_prompt_and_the_images_of_an_earlier_row_in_any_order() -> None:
    a, b, c = image(), image(), image()
    census = census_of(
        row([1, 2], images=[a, b]),
        row([1, 2], images=[b, a]),
        row([1, 2], images=[a, c]),
        row([1, 2], images=[a, b], prompt="another prompt"),
        row([1, 2], images=[a, b], source=c),
    )
    assert census.num_duplicates == 1


def test_prompts_are_measured_in_characters() -> None:
    lengths = census_of(*(row([1, 2], prompt="x" * n) for n in (3, 9, 4))).prompt_chars
    assert lengths is not None
    assert (lengths.shortest, lengths.median, lengths.longest) == (3, 4, 9)


def unusable(number: int, reason: Reason = Reason.MISSING_FILE) -> UnusableRow:
    return UnusableRow(place=place(number), reason=reason, detail=f"{number}.png is not in [here]")


def printed(census: Census) -> str:
    console = Console(file=io.StringIO(), width=200)
    print_report(census, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_first_unusable_rows_are_listed_and_the_others_counted() -> None:
    text = printed(census_of(row([1, 2]), *(unusable(n) for n in range(1, MAX_LISTED + 4))))
    assert re.search(r"cannot be used +23 \(23 missing-file\)", text)
    assert "test.json row 20: missing-file: 20.png is not in [here]" in text
    assert "row 21:" not in text
    assert "… and 3 more" in text


def test_json_lists_all_of_them() -> None:
    census = census_of(*(unusable(n) for n in range(1, 31)), unusable(31, Reason.NO_LABEL))
    found = json.loads(json.dumps(as_json(census)))
    assert found["unusable"] == {"missing-file": 30, "no-label": 1}
    assert len(found["unusable_rows"]) == 31
    assert found["unusable_rows"][30] == {
        "file": "test.json",
        "row": 31,
        "split": "test",
        "reason": "no-label",
        "detail": "31.png is not in [here]",
    }


def test_an_unbalanced_dataset_says_what_that_means() -> None:
    assert "100.0% of 20 pairs: position gives the label away" in printed(census_of(*[row([1, 2])] * 20))
