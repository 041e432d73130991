"""Keeps source and store apart: a store in a folder of images would be read as a part of the source."""

from pathlib import Path

from icecore.store import UsageError


def require_apart(source: str, store: str) -> None:
    """Raise UsageError where a local store is the folder of the source, lies in it, or contains the source.

    A store beside a source that is a file, such as a manifest or a tar, is allowed.
    """
    place, path = _local_path(store), _path_of(source)
    how = _relation(place, path) if place is not None and path is not None else None
    if how is not None:
        raise UsageError(f"{store}: {how}, {source!r}; expected a place apart from the images, choose another STORE")


def _relation(place: Path, path: Path) -> str | None:
    """Return the relation of the store's path to the source's, for the error message; None where they are apart."""
    if place == path:
        return "is the source"
    if place in path.parents:
        return "holds the source"
    return "lies in the source" if path.is_dir() and path in place.parents else None


def _path_of(source: str) -> Path | None:
    """Return the existing path in a source text: the whole text, or the part after one of its colons."""
    words = source.split(":")
    texts = (":".join(words[start:]) for start in range(len(words)))
    return next((Path(text).resolve() for text in texts if text and Path(text).exists()), None)


def _local_path(url: str) -> Path | None:
    protocol, separator, rest = url.partition("://")
    if not separator:
        return Path(url).resolve()
    return Path(rest).resolve() if protocol in ("file", "local") else None
