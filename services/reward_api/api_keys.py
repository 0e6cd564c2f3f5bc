"""API keys at rest: a JSON file with who holds a key, what it allows, and the hash of its secret.

Owns making, listing and revoking keys; who is let in is decided in `key_ring` and `access`. A token is
`arr_<id>_<secret>`. The one rule: a secret is shown once, when its key is made, and is never written down.
"""

import hashlib
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Self

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from shared_schemas.access import Scope
from shared_schemas.base import Identifier
from shared_schemas.messages import in_one_line

SECRET_BYTES = 32
"""256 random bits: nobody guesses them, hashed or not, so a fast hash protects them as well as a slow one would. Slow
hashes are for passwords, which people choose."""

_ID_BYTES = 6
_TOKEN = re.compile(r"arr_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_SHA256 = r"^[0-9a-f]{64}$"


class KeyFileError(Exception):
    """The key file cannot be read, written or trusted; the message is one line that names it."""


class ApiKey(BaseModel):
    """One key, as far as it is written down."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{12}$")]
    """Names the key; no secret."""
    name: Identifier
    """Who holds it."""
    tenant: Identifier
    """Whose verdicts, judgements and share of the judge it uses; several keys may belong to one tenant."""
    scopes: tuple[Scope, ...] = Field(min_length=1)
    """What it allows."""
    sha256: Annotated[str, StringConstraints(pattern=_SHA256)] = Field(repr=False)
    """Of the secret, in hexadecimal digits."""
    created: datetime
    """When it was made (UTC)."""
    revoked: datetime | None = None
    """When it was revoked (UTC); null while it is good."""


class _KeyFileContent(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[ApiKey, ...] = ()

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Self:
        if len({key.id for key in self.keys}) < len(self.keys):
            raise ValueError("two keys have the same id")
        return self


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """What a client sends, taken apart."""

    key_id: str
    secret_sha256: str

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The token in `text`; none when it has another form."""
        match = _TOKEN.fullmatch(text)
        return None if match is None else cls(key_id=match[1], secret_sha256=hash_of(match[2]))


def hash_of(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


class KeyFile:
    """The file at `path`; every change replaces it as a whole, so that a reader never sees half of one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> tuple[ApiKey, ...]:
        """All keys, revoked ones included, oldest first. Raises `KeyFileError`."""
        try:
            return _KeyFileContent.model_validate_json(self.path.read_bytes()).keys
        except OSError as error:
            raise KeyFileError(f"{self.path} cannot be read: {error.strerror}") from error
        except ValidationError as error:
            complaint = in_one_line(error, whole="the file")
            # Without its cause: pydantic's error repeats what the file holds.
            raise KeyFileError(f"{self.path} is not a file of API keys: {complaint}") from None

    def check_private(self) -> None:
        """Raise `KeyFileError` when everybody on this machine can read or change the file."""
        try:
            mode = stat.S_IMODE(self.path.stat().st_mode)
        except OSError as error:
            raise KeyFileError(f"{self.path} cannot be read: {error.strerror}") from error
        if mode & stat.S_IRWXO:
            raise KeyFileError(f"{self.path} is open to everybody (mode {mode:04o}); run `chmod 600 {self.path}`")

    def add(self, name: str, *, tenant: str, scopes: Sequence[Scope]) -> tuple[ApiKey, str]:
        """Make a key and write it down; returns it with its token, which cannot be had again.

        Raises `ValueError` for a name or tenant that is no identifier, and `KeyFileError`.
        """
        secret = secrets.token_urlsafe(SECRET_BYTES)
        try:
            key = ApiKey(
                id=secrets.token_hex(_ID_BYTES),
                name=name,
                tenant=tenant,
                scopes=tuple(dict.fromkeys(scopes)),
                sha256=hash_of(secret),
                created=datetime.now(UTC),
            )
        except ValidationError as error:
            raise ValueError(in_one_line(error)) from None
        with self._locked():
            self._write((*self._read_if_there(), key))
        return key, f"arr_{key.id}_{secret}"

    def revoke(self, key_id: str) -> ApiKey:
        """Make a key useless for ever; again is fine. Raises `KeyFileError`, also when there is no such key."""
        with self._locked():
            keys = {key.id: key for key in self.read()}
            if key_id not in keys:
                raise KeyFileError(f"{self.path} has no key {key_id!r}; `arr keys list` shows all ids")
            if keys[key_id].revoked is None:
                keys[key_id] = keys[key_id].model_copy(update={"revoked": datetime.now(UTC)})
                self._write(tuple(keys.values()))
        return keys[key_id]

    def _read_if_there(self) -> tuple[ApiKey, ...]:
        return self.read() if self.path.exists() else ()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes from changing the file meanwhile."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self.path}.lock", mode=0o600):
                yield
        except OSError as error:
            raise KeyFileError(f"{self.path} cannot be changed: {error.strerror}") from error

    def _write(self, keys: tuple[ApiKey, ...]) -> None:
        content = _KeyFileContent(keys=keys).model_dump_json(indent=2)
        path = self.path.resolve()  # so that the file is replaced and not a link to it
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".keys-", delete=False) as draft:
            try:  # the mode of a temporary file is 0600
                draft.write(f"{content}\n")
                draft.flush()
                os.fsync(draft.fileno())
                Path(draft.name).replace(path)
            except BaseException:
                Path(draft.name).unlink()
                raise
