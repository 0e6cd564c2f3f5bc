"""Base classes and text types of all wire models."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"

_CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class RequestModel(BaseModel):
    """Base of everything a client sends: frozen, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class ResponseModel(BaseModel):
    """Base of everything the service answers: frozen, and an unknown field is ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True, allow_inf_nan=False)


def _refuse_control_characters(text: str) -> str:
    if found := _CONTROL_CHARACTERS.search(text):
        raise ValueError(f"contains the control character U+{ord(found.group()):04X}")
    return text


Text = Annotated[str, StringConstraints(min_length=1), AfterValidator(_refuse_control_characters)]
"""Free text: not empty, no control characters except tab and line breaks. Lone surrogates are refused by the parser."""

OptionalText = Annotated[str, AfterValidator(_refuse_control_characters)]
"""Like `Text`, may be empty."""

Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:/-]{1,128}$")]
"""An id the client chooses (group, image, run): 1 to 128 characters of `A-Z a-z 0-9 . _ : / -`."""

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
"""The name of a rubric set or an alias."""

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
"""A content address: `sha256:` and 64 hexadecimal digits."""
