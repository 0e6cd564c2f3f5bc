"""`ETag`, `If-Match` and `If-None-Match` (RFC 9110, section 13): say no unless the thing is what the client saw."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header

ANY = "*"


@dataclass(frozen=True, kw_only=True, slots=True)
class Preconditions:
    """The two headers of one request, as sent."""

    if_match: str | None = None
    if_none_match: str | None = None

    def allow(self, current: str | None) -> bool:
        """Whether a change may go ahead while the entity tag is `current`; none = the thing does not exist."""
        if self.if_match is not None and not _names(self.if_match, current):
            return False
        return self.if_none_match is None or not _names(self.if_none_match, current)

    def is_fresh(self, current: str) -> bool:
        """Whether the client's copy is still good (answer 304)."""
        return self.if_none_match is not None and _names(self.if_none_match.replace("W/", ""), current)


def entity_tag(value: object) -> str:
    """A strong entity tag."""
    return f'"{value}"'


async def _preconditions(
    if_match: Annotated[str | None, Header(description="Go ahead only if the `ETag` is still this one.")] = None,
    if_none_match: Annotated[
        str | None, Header(description="`*`: go ahead only if it does not exist. A tag: answer 304 if it still is.")
    ] = None,
) -> Preconditions:
    return Preconditions(if_match=if_match, if_none_match=if_none_match)


PreconditionsDep = Annotated[Preconditions, Depends(_preconditions)]
"""Parameter type by which an endpoint gets the conditions of its request."""


def _names(header: str, current: str | None) -> bool:
    if current is None:
        return False
    return header.strip() == ANY or current in [tag.strip() for tag in header.split(",")]
