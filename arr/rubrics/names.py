"""Names of rubric sets and aliases as arguments: a wrong one ends the command before anything is read or sent."""

from typing import Annotated

import typer

from arr.console import ExitCode, fail


def _checked_name(name: str) -> str:
    import re

    from shared_schemas.base import NAME_PATTERN

    if not re.match(NAME_PATTERN, name):
        fail(
            f"{name!r} is no name for a rubric set; write lower-case letters, digits, `.`, `_` and `-`, 64 at most",
            code=ExitCode.USAGE,
        )
    return name


def _checked_alias(alias: str) -> str:
    from pydantic import TypeAdapter, ValidationError

    from shared_schemas.messages import in_one_line
    from shared_schemas.rubrics import AliasName

    try:
        return TypeAdapter(AliasName).validate_python(alias)
    except ValidationError as error:
        fail(in_one_line(error, whole="alias"), code=ExitCode.USAGE)


SetName = Annotated[str, typer.Argument(help="Name of the rubric set.", callback=_checked_name)]
Alias = Annotated[str, typer.Argument(help="The alias, such as `production`.", callback=_checked_alias)]
