"""Examples: read them, and say which ones a step trains on."""

from trainer.data.examples import Example, SourceImage, data_digest, example_key
from trainer.data.reading import read_examples, read_run_examples
from trainer.data.sampling import ExampleSampler, derive_seed, generator
from trainer.data.source_files import SourceFiles, open_source, source_size

__all__ = [
    "Example",
    "ExampleSampler",
    "SourceFiles",
    "SourceImage",
    "data_digest",
    "derive_seed",
    "example_key",
    "generator",
    "open_source",
    "read_examples",
    "read_run_examples",
    "source_size",
]
