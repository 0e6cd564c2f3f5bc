"""Logging for every process of the service: one line per event, `key=value`, with the request it belongs to.

Owns the format and the request id that travels with a task. Refuses secrets: settings keep them in `SecretStr`, and
chatty HTTP libraries are quieted. Metrics live with the process that counts them.
"""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

_CHATTY = ("httpx", "httpx2", "httpcore", "openai", "alembic", "aiosqlite")
"""Libraries whose INFO lines repeat what we log, or spell out addresses."""

_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


def current_request_id() -> str | None:
    """The id of the request that is being answered, if one is."""
    return _request_id.get()


@contextmanager
def request_context(request_id: str) -> Iterator[None]:
    """Everything logged inside belongs to this request."""
    token = _request_id.set(request_id)
    try:
        yield
    finally:
        _request_id.reset(token)


def configure_logging(level: str) -> None:
    """Log to standard error from `level` (DEBUG, INFO, WARNING, ERROR) up, replacing what was configured before."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(KeyValueFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


class KeyValueFormatter(logging.Formatter):
    """`time=… level=… logger=… request_id=… message="…"`, then every `extra` field; a traceback follows below."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; a value with blanks, quotes or line breaks becomes a JSON string, so that none forges a line."""
        fields: dict[str, object] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{record.msecs:03.0f}",
            "level": record.levelname,
            "logger": record.name,
        }
        if (request_id := current_request_id()) is not None:
            fields["request_id"] = request_id
        fields["message"] = record.getMessage()
        fields |= {key: value for key, value in vars(record).items() if key not in _STANDARD_FIELDS}
        line = " ".join(f"{key}={_quoted(value)}" for key, value in fields.items())
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _quoted(value: object) -> str:
    text = str(value)
    plain = text.isprintable() and text and not any(character in text for character in ' "=')
    return text if plain else json.dumps(text, ensure_ascii=False)
