"""Variables of a compose file, filled in as `docker compose` does it: as much of that as our file uses."""

import re
from collections.abc import Mapping

VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>[A-Z_]+)(?:(?P<how>:-|:\?)(?P<rest>[^}]*))?\})")


class MissingVariableError(Exception):
    """A variable that the file insists on; the message is the file's own."""


def interpolated(text: str, variables: Mapping[str, str]) -> str:
    """The text with `${NAME}`, `${NAME:-default}`, `${NAME:?message}` and `$$` filled in."""

    def fill_in(match: re.Match[str]) -> str:
        if match["name"] is None:
            return "$"
        value = variables.get(match["name"], "")
        if value:
            return value
        if match["how"] == ":?":
            raise MissingVariableError(match["rest"])
        return match["rest"] or ""

    return VARIABLE.sub(fill_in, text)
