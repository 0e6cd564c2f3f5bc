"""What pydantic refuses, as one line for people.

The one rule: only the first error is told; the next shows once that one is mended.
"""

from pydantic import ValidationError


def first_refusal(error: ValidationError) -> tuple[tuple[str, ...], str]:
    """Where it is, from the outside in (empty = the whole), and what is wrong with it."""
    first = error.errors()[0]
    return tuple(str(part) for part in first["loc"]), first["msg"].removeprefix("Value error, ")


def in_one_line(error: ValidationError, *, whole: str = "") -> str:
    """`prompt: Input should be a valid string`; `whole` names what has no place in it, if anything does."""
    path, message = first_refusal(error)
    where = ".".join(path) or whole
    return f"{where}: {message}" if where else message
