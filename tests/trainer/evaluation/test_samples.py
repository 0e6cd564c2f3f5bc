from trainer.config import EvaluationConfig
from trainer.data import Example
from trainer.evaluation.samples import batches, sample_grid


def test_the_grid_goes_row_by_row_and_marks_what_is_not_trained_on() -> None:
    grid = sample_grid([Example("a"), Example("b")], [Example("a")], EvaluationConfig(images_per_prompt=2))
    assert [(sample.example.prompt, sample.noise, sample.is_held_out) for sample in grid] == [
        ("a", 0, False),
        ("a", 1, False),
        ("b", 0, True),
        ("b", 1, True),
    ]


def test_every_sample_is_in_one_batch_and_every_process_has_some() -> None:
    assert batches(80, num_processes=1, largest=30) == [range(30), range(30, 60), range(60, 80)]
    assert batches(10, num_processes=4, largest=36) == [range(3), range(3, 6), range(6, 9), range(9, 10)]
    assert batches(0, num_processes=2, largest=36) == []
