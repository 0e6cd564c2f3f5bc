"""Encode every example of a recipe once, so that training need not: see `policies.prepared_rows`.

Owns which rows are missing and the order of the work; how an example is encoded belongs to its family. The one rule:
rows that are there are never made again, and are the ones that training would make itself, bit for bit.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from trainer.config import TrainConfig
from trainer.data import Example, read_run_examples
from trainer.errors import ConfigError
from trainer.policies import ENCODERS, refuse_unfit_examples
from trainer.policies.encoder_identity import EncoderIdentity
from trainer.policies.prepared_rows import MAX_ROWS, RowWriter
from trainer.policies.prompt_length import refuse_long_prompts


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """How a call of `prepare` ended."""

    num_rows: int
    """Rows that the recipe needs."""
    num_done: int
    """Rows of them that are on disk."""
    num_encoded: int
    """Rows of them that this call made."""
    folder: Path

    @property
    def is_complete(self) -> bool:
        """False when it was asked to stop; start it again to go on."""
        return self.num_done == self.num_rows


def prepare(
    config: TrainConfig,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
    max_rows: int = MAX_ROWS,
) -> Prepared:
    """Fill `data.prepared` with the rows that the recipe's examples need and that are not there yet.

    `progress(done, total)` is called after each row, and once before. `should_stop` is asked between rows; what was
    encoded by then is written. Files hold up to `max_rows` rows. Raises `ConfigError` when the recipe names no folder,
    the data is wrong, the model does not take it or cannot be loaded, or other encoders filled the folder.
    """
    folder = config.data.prepared
    if folder is None:
        raise ConfigError("data.prepared is empty; name the folder that shall hold the encoded examples")
    with _only_writer(folder):
        wanted = _examples_to_encode(config)
        encoders = ENCODERS[config.model.family]
        writer = RowWriter(folder, EncoderIdentity.of(config.model, encoders), max_rows=max_rows)
        present = writer.rows
        missing = [example for example in wanted if example not in present]
        num_present, num_encoded = len(wanted) - len(missing), 0
        progress(num_present, len(wanted))
        if missing:
            refuse_long_prompts(config.model, missing, tokenizer=encoders.prompt_tokenizer)
            encode = encoders.load(config.model, device=_device())
            try:
                for example in missing:
                    if should_stop():
                        break
                    writer.add(example, encode(example))
                    num_encoded += 1
                    progress(num_present + num_encoded, len(wanted))
            finally:
                writer.flush()
    return Prepared(num_rows=len(wanted), num_done=num_present + num_encoded, num_encoded=num_encoded, folder=folder)


def _examples_to_encode(config: TrainConfig) -> list[Example]:
    """Each once: those trained on, those evaluated, and those that the family needs in any case."""
    trained, evaluated = read_run_examples(config)
    refuse_unfit_examples(config, (*trained, *evaluated))
    return list(dict.fromkeys((*ENCODERS[config.model.family].always, *trained, *evaluated)))


@contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    """Raises `ConfigError` while another process fills the folder, or when it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock", blocking=False):
            yield
    except Timeout as error:
        raise ConfigError(f"another `arr prepare` is filling {folder}") from error
    except FileExistsError as error:
        raise ConfigError(f"data.prepared: {folder} is a file") from error


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
