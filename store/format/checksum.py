"""JSON documents that carry their own checksum, so that a flipped bit in one is always noticed."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ..errors import IntegrityError


def canonical(document: Mapping[str, Any]) -> bytes:
    """Return the one byte string that stands for a JSON document: sorted keys, no white space."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256(data: bytes) -> str:
    """Return the hexadecimal SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()


def seal(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document with a `checksum` over everything else in it."""
    return {**document, "checksum": sha256(canonical(document))}


def unseal(document: object, name: str) -> dict[str, Any]:
    """Return a sealed document without its checksum; IntegrityError if it is not the one that was sealed."""
    if not isinstance(document, dict) or "checksum" not in document:
        raise IntegrityError(f"{name}: carries no checksum; run 'icecore verify --repair' on the store")
    content = {key: value for key, value in document.items() if key != "checksum"}
    if sha256(canonical(content)) != document["checksum"]:
        raise IntegrityError(f"{name}: does not match its own checksum; run 'icecore verify --repair' on the store")
    return content


def parse(data: bytes, name: str) -> Any:
    """Parse JSON bytes; IntegrityError where they are not JSON."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(
            f"{name}: is not valid JSON ({error}); run 'icecore verify --repair' on the store"
        ) from None
