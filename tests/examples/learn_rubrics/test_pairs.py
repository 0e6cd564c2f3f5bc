"""The labelled pairs that the example learns from: valid, the same every time, and without an easy way out."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from arr.main import app
from examples.learn_rubrics.edits import edit_pairs
from examples.learn_rubrics.labelled_folder import LabelledPair, shuffle_labels, write_folder
from examples.learn_rubrics.shapes import Mistake, shape_pairs
from services.judging.pixel_judge.picture import Picture
from services.judging.pixel_judge.statistics import brightness, contrast

RANKS = ([1, 2], [2, 1])


def rows_of(annotations: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in annotations.read_text().splitlines()]


def digest_of(folder: Path) -> str:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in files)).hexdigest()


def test_there_are_about_sixty_drawings_and_thirty_edits(
    drawings: list[LabelledPair], edits: list[LabelledPair]
) -> None:
    assert len(drawings) == 60
    assert len(edits) == 36
    assert {pair.source is None for pair in drawings} == {True}
    assert {pair.source is None for pair in edits} == {False}


def test_equal_seeds_give_equal_files_and_others_do_not(tmp_path: Path) -> None:
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        write_folder(shape_pairs(8, seed=seed), tmp_path / name, seed=seed)
    assert digest_of(tmp_path / "first") == digest_of(tmp_path / "again") != digest_of(tmp_path / "other")


def test_equal_seeds_give_equal_edits(edits: list[LabelledPair]) -> None:
    again = edit_pairs(seed=0)
    assert [pair.prompt for pair in again] == [pair.prompt for pair in edits]
    assert all(one.good == other.good and one.bad == other.bad for one, other in zip(again, edits, strict=True))


def test_the_folder_passes_the_check_of_labelled_pairs(pairs: list[LabelledPair], tmp_path: Path) -> None:
    write_folder(pairs, tmp_path, seed=0)
    checked = CliRunner().invoke(app, ["pairs", "check", str(tmp_path), "--format", "json", "--json"])
    assert checked.exit_code == 0, checked.output
    assert json.loads(checked.output)["rows"] == len(pairs)


def test_the_better_image_stands_first_in_half_of_the_rows_and_its_name_does_not_say_so(
    pairs: list[LabelledPair], tmp_path: Path
) -> None:
    rows = rows_of(write_folder(pairs, tmp_path, seed=0))
    assert [sum(row["rank"] == rank for row in rows) for rank in RANKS] == [len(pairs) // 2] * 2
    sides = [[str(name)[-5] for name in row["images"]] for row in rows if isinstance(row["images"], list)]
    assert sides == [["a", "b"]] * len(pairs)


def test_both_images_of_a_pair_differ(pairs: list[LabelledPair]) -> None:
    for pair in pairs:
        difference = np.abs(np.asarray(pair.good, dtype=np.float64) - np.asarray(pair.bad, dtype=np.float64))
        assert difference.mean() > 0.5, pair.name


def test_brightness_and_contrast_hardly_say_which_image_is_better(pairs: list[LabelledPair]) -> None:
    def taste(image: object) -> float:
        picture = Picture(image)  # type: ignore[arg-type]
        return brightness(picture) + contrast(picture)

    share = np.mean([taste(pair.good) > taste(pair.bad) for pair in pairs])
    assert 0.4 <= share <= 0.6


def test_every_mistake_is_made_equally_often_in_drawings(drawings: list[LabelledPair]) -> None:
    made = Counter(pair.name.split("-", 1)[1] for pair in drawings)
    assert made == dict.fromkeys((str(mistake) for mistake in Mistake), 6)


def test_a_good_edit_leaves_the_rest_of_the_photograph_exactly_as_it_was(edits: list[LabelledPair]) -> None:
    for pair in edits:
        assert pair.source is not None
        changed = (np.asarray(pair.good) != np.asarray(pair.source)).any(axis=2).mean()
        assert 0.02 < changed <= 0.52, pair.name


def test_no_instruction_is_given_for_two_photographs(edits: list[LabelledPair]) -> None:
    """Otherwise the parts into which the pairs are split would share photographs, or everything would be one part."""
    photographs: dict[str, set[str | None]] = {}
    for pair in edits:
        photographs.setdefault(pair.prompt, set()).add(pair.source_name)
    assert {len(names) for names in photographs.values()} == {1}
    assert len({pair.source_name for pair in edits}) == 12


def test_shuffled_labels_are_right_in_exactly_half_of_the_rows(drawings: list[LabelledPair], tmp_path: Path) -> None:
    annotations = write_folder(drawings, tmp_path, seed=0)
    before, after = rows_of(annotations), rows_of(shuffle_labels(annotations, tmp_path / "shuffled.jsonl", seed=0))
    assert [{**row, "rank": None} for row in after] == [{**row, "rank": None} for row in before]
    assert sum(a["rank"] == b["rank"] for a, b in zip(before, after, strict=True)) == len(drawings) // 2
    assert all(row["rank"] in RANKS for row in after)
