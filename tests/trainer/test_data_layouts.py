"""Every layout that examples are read from, and the line that a mistake in it is answered with."""

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from trainer.data import Example, SourceFiles, data_digest, read_examples
from trainer.errors import ConfigError


def picture(shade: int) -> bytes:
    content = io.BytesIO()
    Image.new("L", (4, 4), shade).save(content, format="PNG")
    return content.getvalue()


def save_dataset(folder: Path, columns: dict[str, Any], **features: Any) -> Path:
    """As people who use Hugging Face's library do."""
    from datasets import Dataset

    dataset = Dataset.from_dict(columns)
    for name, feature in features.items():
        dataset = dataset.cast_column(name, feature)
    dataset.save_to_disk(folder)
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with three pictures of different shades."""
    folder = tmp_path / "image"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").write_bytes(picture(number))
    return folder


@pytest.fixture(autouse=True)
def _quiet_datasets() -> Iterator[None]:
    import datasets

    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def test_lines_name_their_source_images_relative_to_the_file(tmp_path: Path, pictures: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    rows = [
        {"prompt": "make it snow", "source_image": "image/0.png"},
        {"prompt": "mix them", "source_image": ["image/1.png", "image/2.png"]},
        {"prompt": "a red fox"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    snow, mix, fox = read_examples(path)
    assert [source.path for source in (*snow.sources, *mix.sources)] == [pictures / f"{n}.png" for n in range(3)]
    assert fox == Example("a red fox")


def test_equal_data_is_equal_wherever_it_lies(tmp_path: Path) -> None:
    digests = []
    for name in ("here", "there"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / f"{name}.png").write_bytes(picture(1))
        (folder / "rows.jsonl").write_text(json.dumps({"prompt": "make it snow", "source_image": f"{name}.png"}))
        digests.append(data_digest(read_examples(folder / "rows.jsonl")))
    assert digests[0] == digests[1]


def test_both_files_of_sharegpt_4o_image_are_read_as_they_are_published(tmp_path: Path, pictures: Path) -> None:
    t2i, edits = tmp_path / "text_to_image.json", tmp_path / "text_and_image_to_image.json"
    t2i.write_text(json.dumps([{"input_prompt": "a red fox", "output_image": "image/t2i_0.png"}]))
    edit = {"input_prompt": "mix them", "input_image": ["image/0.png", "image/1.png"], "output_image": "image/9.png"}
    edits.write_text(json.dumps([edit]))
    assert read_examples(t2i) == (Example("a red fox"),)
    (example,) = read_examples(edits)
    assert [source.path.name for source in example.sources] == ["0.png", "1.png"]


def test_a_folder_of_sharegpt_4o_image_is_answered_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "text_and_image_to_image.json").write_text("[]")
    with pytest.raises(ConfigError, match=r"is a folder; name the file, .*text_and_image_to_image\.json"):
        read_examples(tmp_path)


def test_a_saved_dataset_is_read_with_the_columns_that_are_named(tmp_path: Path) -> None:
    folder = save_dataset(tmp_path / "saved", {"caption": ["a red fox", "a blue hat"], "likes": [3, 4]})
    assert read_examples(folder, prompt_column="caption") == (Example("a red fox"), Example("a blue hat"))


def test_images_inside_a_saved_dataset_become_files_named_by_their_content(tmp_path: Path, pictures: Path) -> None:
    from datasets import Image as ImageFeature
    from datasets import List

    columns: dict[str, Any] = {"prompt": ["x", "y"], "before": [[str(pictures / "0.png"), str(pictures / "1.png")], []]}
    folder = save_dataset(tmp_path / "saved", columns, before=List(ImageFeature()))
    for path in pictures.iterdir():
        path.unlink()  # `save_to_disk` took them into its files
    two, none = read_examples(folder, source_column="before", files=SourceFiles(tmp_path / "sources"))
    assert none.sources == ()
    for source, shade in zip(two.sources, (0, 1), strict=True):
        assert source.path == tmp_path / "sources" / f"{source.digest}.png"
        assert source.path.read_bytes() == picture(shade)


def test_an_image_in_a_dataset_and_the_same_file_are_the_same_source(tmp_path: Path, pictures: Path) -> None:
    from datasets import Image as ImageFeature

    columns = {"prompt": ["x"], "source_image": [str(pictures / "2.png")]}
    folder = save_dataset(tmp_path / "saved", columns, source_image=ImageFeature())
    lines = tmp_path / "rows.jsonl"
    lines.write_text(json.dumps({"prompt": "x", "source_image": "image/2.png"}))
    assert read_examples(folder, files=SourceFiles(tmp_path / "sources")) == read_examples(lines)


def test_paths_in_a_saved_dataset_are_relative_to_its_folder(tmp_path: Path, pictures: Path) -> None:
    folder = save_dataset(tmp_path / "saved", {"prompt": ["x"], "source_image": ["../image/1.png"]})
    (example,) = read_examples(folder)
    assert example.sources[0].path.resolve() == pictures / "1.png"


def test_a_folder_of_several_splits_is_answered_with_one_of_them(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    split = Dataset.from_dict({"prompt": ["a red fox"]})
    DatasetDict({"train": split, "test": split}).save_to_disk(tmp_path / "saved")
    with pytest.raises(ConfigError, match=r"has the splits test, train; name the folder of one, .*/test"):
        read_examples(tmp_path / "saved")
    assert read_examples(tmp_path / "saved" / "train") == (Example("a red fox"),)


def test_a_wrong_column_of_a_saved_dataset_is_answered_with_those_that_there_are(tmp_path: Path) -> None:
    folder = save_dataset(tmp_path / "saved", {"caption": ["a red fox"], "likes": [3]})
    with pytest.raises(ConfigError, match=r"saved: there is no column prompt; there are caption, likes"):
        read_examples(folder)
    with pytest.raises(ConfigError, match=r"saved row 1: there is no before"):
        read_examples(folder, prompt_column="caption", source_column="before")


def test_any_other_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not one that Hugging Face's `save_to_disk` wrote"):
        read_examples(tmp_path)


def test_a_damaged_dataset_is_one_line(tmp_path: Path) -> None:
    folder = save_dataset(tmp_path / "saved", {"prompt": ["a red fox"]})
    for path in folder.glob("*.arrow"):
        path.write_bytes(b"half a downl")
    with pytest.raises(ConfigError, match=r"saved cannot be read: .+"):
        read_examples(folder)


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        ({"caption": "x"}, {}, r'rows\.json row 2: expected {"input_prompt": .*it has caption \(prompt_column\)'),
        ({"input_prompt": "x"}, {"prompt_column": "text"}, 'row 2: expected {"text": .*it has input_prompt'),
        ({"input_prompt": ""}, {}, r'row 2: expected {"input_prompt": "some text"} \(prompt'),
        ({"input_prompt": 7}, {}, 'row 2: expected {"input_prompt": "some text"}'),
        ("x", {}, "row 2: expected .*it has no columns"),
        ({"input_prompt": "x"}, {"source_column": "before"}, r"row 2: there is no before \(source_column\)"),
        ({"input_prompt": "x", "input_image": [7]}, {}, "row 2: input_image must be a path, or a list of paths"),
        (
            {"input_prompt": "x", "input_image": "9.png"},
            {},
            r"row 2: the source image .*9\.png cannot be read \(No such",
        ),
        ({"input_prompt": "x", "input_image": "rows.json"}, {}, r"rows\.json cannot be used: it is no image"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_file_and_the_row(
    tmp_path: Path, row: Any, options: dict[str, Any], message: str
) -> None:
    first = {"input_prompt": "fine", "text": "fine", "before": None}
    (tmp_path / "rows.json").write_text(json.dumps([first, row]))
    with pytest.raises(ConfigError, match=message) as refused:
        read_examples(tmp_path / "rows.json", **options)
    assert "\n" not in str(refused.value)


def test_a_damaged_array_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text('[{"input_prompt": "x"},\n{"input')
    with pytest.raises(ConfigError, match=r"rows\.json:2: not JSON"):
        read_examples(tmp_path / "rows.json")


def test_digests_are_remembered_until_a_file_changes(pictures: Path, tmp_path: Path) -> None:
    path = pictures / "0.png"
    files = SourceFiles(tmp_path / "sources")
    digest = files.of_file(path).digest
    files.save()
    status = path.stat()
    path.write_bytes(bytes(status.st_size))  # unread, as size and time are the same
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert SourceFiles(tmp_path / "sources").of_file(path).digest == digest
    path.write_bytes(picture(9))
    assert SourceFiles(tmp_path / "sources").of_file(path).digest != digest


def test_nothing_is_written_where_there_are_no_source_images(tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "x"}\n')
    files = SourceFiles(tmp_path / "sources")
    read_examples(tmp_path / "prompts.jsonl", files=files)
    files.save()
    assert not (tmp_path / "sources").exists()
