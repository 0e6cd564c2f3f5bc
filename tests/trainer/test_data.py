from pathlib import Path

import pytest

from trainer.data import Example, ExampleSampler, derive_seed, read_examples
from trainer.errors import ConfigError


def test_an_epoch_holds_every_prompt_once_and_the_next_is_shuffled_anew() -> None:
    examples = [Example(f"prompt {index}") for index in range(20)]
    sampler = ExampleSampler(examples, seed=0)
    first, second = sampler.batch(0, 20), sampler.batch(1, 20)
    assert set(first) == set(second) == set(examples)
    assert first != second


def test_a_batch_depends_on_its_step_alone_so_a_restart_continues_the_stream() -> None:
    examples = tuple(map(Example, "abcde"))
    stream = [prompt for step in range(6) for prompt in ExampleSampler(examples, seed=1).batch(step, 3)]
    assert list(ExampleSampler(examples, seed=1).batch(4, 3)) == stream[12:15]


def test_seeds_of_different_purposes_differ() -> None:
    assert (
        len({derive_seed(0, "rollout", 1), derive_seed(0, "rollout", 2), derive_seed(0, "lora"), derive_seed(1)}) == 4
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no prompts"),
        ('{"prompt": "a"}\nnot json\n', ":2: not JSON"),
        ('{"promt": "a"}\n', ':1: expected {"prompt"'),
        ('{"prompt": "  "}\n', ":1: expected"),
        ('{"prompt": "a\\u0000b"}\n', r":1: contains the control character U\+0000"),
        ('{"prompt": "\\ud800"}\n', ":1: .*unicode"),
    ],
)
def test_a_bad_prompt_file_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_examples(path)


def test_a_missing_prompt_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.jsonl"):
        read_examples(tmp_path / "nowhere.jsonl")
