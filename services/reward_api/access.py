"""Who asks, and whether they may: API keys and scopes on the way into every endpoint.

Owns reading the `Authorization` header and comparing scopes; which tokens are good is the key ring's business. Use
`GuardedRoute` as a router's `route_class` and write into every endpoint whom it is for:

    router = APIRouter(route_class=GuardedRoute)

    @router.get("/things")
    async def things(principal: Annotated[Principal, Depends(requires(Scope.REWARD))]) -> Things: ...

The one rule: a refusal comes before the first byte of the body is read, and never repeats what was sent as a key.
"""

import re
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from services.judging.callers import LOCAL_TENANT
from services.reward_api.errors import Forbidden, Unauthenticated
from services.reward_api.key_ring import KeyRing
from shared_schemas.access import Scope

SECURITY_SCHEME = "api_key"
"""Name of the scheme in the OpenAPI document."""

_BEARER = re.compile(r"bearer +([!-~]+)", re.IGNORECASE)  # RFC 9110, 11.1: the scheme has no case


@dataclass(frozen=True, kw_only=True, slots=True)
class Principal:
    """On whose behalf a request is made."""

    tenant: str
    """Whose verdicts, judgements and share of the judge are used."""
    key_id: str | None
    """Which key was sent; none on a service without keys."""
    scopes: frozenset[Scope]
    """What it allows; never empty."""

    @property
    def sees_all_tenants(self) -> bool:
        """Whether the judgements and datasets of others may be read, too."""
        return Scope.ADMIN in self.scopes

    @property
    def visible_tenant(self) -> str | None:
        """Whose things may be read; none = everybody's."""
        return None if self.sees_all_tenants else self.tenant

    def may(self, any_of: tuple[Scope, ...]) -> bool:
        """Whether one of these scopes is among its own."""
        return Scope.ADMIN in self.scopes or not self.scopes.isdisjoint(any_of)


_EVERYBODY = Principal(tenant=LOCAL_TENANT, key_id=None, scopes=frozenset(Scope))


class Access:
    """Tells who asks."""

    def __init__(self, keys: KeyRing | None) -> None:
        """Without keys everybody is the tenant `local` and may do everything."""
        self._keys = keys

    @classmethod
    def from_file(cls, path: Path | None) -> "Access":
        """The access that a key file gives; none = no keys. Raises `KeyFileError`."""
        return cls(None if path is None else KeyRing(path))

    def identify(self, request: Request) -> Principal:
        """Whose key the request carries. Raises `Unauthenticated`."""
        if self._keys is None:
            return _EVERYBODY
        headers = request.headers.getlist("Authorization")
        if not headers:
            raise Unauthenticated("this service asks for an API key: send `Authorization: Bearer <key>`")
        match = _BEARER.fullmatch(headers[0]) if len(headers) == 1 else None
        if match is None:
            raise Unauthenticated("send one header `Authorization: Bearer <key>` and nothing else in it")
        key = self._keys.verify(match[1])
        if key is None:
            raise Unauthenticated("this API key is unknown or was revoked")
        return Principal(tenant=key.tenant, key_id=key.id, scopes=frozenset(key.scopes))


@dataclass(frozen=True, slots=True)
class Requirement:
    """A dependency that lets in whoever has one of the scopes."""

    any_of: tuple[Scope, ...]

    async def __call__(self, request: Request) -> Principal:
        """Who asks. Raises `Unauthenticated` and `Forbidden`."""
        access: Access = request.state.services.access
        principal = access.identify(request)
        if not principal.may(self.any_of):
            raise Forbidden(f"this call needs the scope {' or '.join(self.any_of)}; the API key does not have it")
        return principal


def requires(*any_of: Scope) -> Requirement:
    """Depend on this to let in whoever has one of these scopes; it gives the endpoint the `Principal`."""
    return Requirement(any_of)


async def open_to_all() -> None:
    """Depend on this to let in everybody, with or without a key."""


class GuardedRoute(APIRoute):
    """A route that says whom it is for, in the code and in the OpenAPI document, and asks that first.

    FastAPI reads a JSON body before it runs any dependency; a route's handler comes before both.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """Like any route. Raises `TypeError` when it depends on neither `requires(…)` nor `open_to_all`."""
        self._requirement: Requirement | None = None
        super().__init__(path, endpoint, **options)
        self._requirement = _requirement([child.call for child in self.dependant.dependencies], path)
        self.openapi_extra = (self.openapi_extra or {}) | {"security": _alternatives(self._requirement)}

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler behind the guard."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            if self._requirement is not None:
                await self._requirement(request)
            return await handle(request)

        return guarded


def _requirement(declared: Sequence[object], path: str) -> Requirement | None:
    found = [call for call in declared if isinstance(call, Requirement)]
    if len(found) + (open_to_all in declared) != 1:
        raise TypeError(f"{path} must depend on `requires(…)` once, or on `open_to_all`")
    return found[0] if found else None


def _alternatives(requirement: Requirement | None) -> list[dict[str, list[str]]]:
    """OpenAPI's notation: one of these has to hold; an empty list asks for nothing."""
    return [] if requirement is None else [{SECURITY_SCHEME: [scope]} for scope in requirement.any_of]
