"""Keeps the model libraries from writing over progress bars; call it before they are imported."""

import os


def quiet_model_libraries() -> None:
    """Silence loading bars and start-up remarks of transformers and diffusers; real warnings and errors still show."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
