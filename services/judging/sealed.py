"""How answers are written down: JSON that carries its own key and a checksum.

Owns the envelope that every cache stores; what is in it is known to those who seal it.

The one rule: what does not match its key and its checksum to the letter is not there.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any


def seal(key: str, fields: Mapping[str, object]) -> str:
    """JSON with the fields, the key they belong under, and a checksum over both."""
    body = json.dumps({"key": key, **fields}, sort_keys=True)
    return json.dumps([_checksum(body), body])


def unseal(key: str, text: str | bytes) -> dict[str, Any] | None:
    """The fields, or None for anything that `seal(key, …)` did not write."""
    try:
        checksum, body = json.loads(text)
        if not hmac.compare_digest(checksum, _checksum(body)):
            return None
        fields: dict[str, Any] = json.loads(body)
        return fields if fields.pop("key") == key else None
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _checksum(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()
