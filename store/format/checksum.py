"""JSON documents that carry their own checksum, so that a flipped bit in one is always noticed."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ..errors import IntegrityError


def canonical(document: Mapping[str, Any]) -> bytes:
    """Return a JSON document in its canonical form: sorted keys, no white space, UTF-8.

    Example:
        >>> canonical({"b": 1, "a": [2, 3]})
        b'{"a":[2,3],"b":1}'
    """
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256(data: bytes) -> str:
    """Return the SHA-256 of the bytes in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def seal(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document with a key `checksum`, the SHA-256 of its canonical form."""
    return {**document, "checksum": sha256(canonical(document))}


def unseal(document: object, name: str) -> dict[str, Any]:
    """Return a sealed document without its checksum; `name` is its file, for messages.

    Raises:
        IntegrityError: the document has no checksum, or does not match it.
    """
    if not isinstance(document, dict) or "checksum" not in document:
        raise IntegrityError(f"{name}: has no checksum; run 'icecore verify --repair' on the store")
    content = {key: value for key, value in document.items() if key != "checksum"}
    if sha256(canonical(content)) != document["checksum"]:
        raise IntegrityError(f"{name}: does not match its own checksum; run 'icecore verify --repair' on the store")
    return content


def parse(data: bytes, name: str) -> Any:
    """Return the value of JSON bytes; `name` is their file, for messages.

    Raises:
        IntegrityError: the bytes are not JSON.
    """
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(
            f"{name}: is not valid JSON ({error}); run 'icecore verify --repair' on the store"
        ) from None
