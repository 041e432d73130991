"""Result folders whose one JSON document carries its own checksum and the digests of the files beside it.

A flipped bit, an edit, a file cut short, missing or of another folder is noticed by whoever reads it, and said in one
line. Documents of format 1 come from an earlier version: they carry no checksum, and are read as they are.
"""

import contextlib
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icecore.store import IcecoreError, IntegrityError

FORMAT = 2  # of documents with a checksum
OWN = ("format", "files", "checksum")


@dataclass(frozen=True)
class Document:
    """A document that was read and checked; `files` is None where an earlier version wrote it.

    `folder` is where the path led when it was read: its files are taken from there, whatever replaces them meanwhile.
    `checksum` stands for all that the document says, and so for every byte of its files; `remedy` says what to do where
    something is wrong.
    """

    path: Path
    folder: Path
    content: dict[str, Any]
    files: dict[str, str] | None
    checksum: str
    remedy: str

    def read(self, name: str) -> bytes:
        """Return the bytes of a file beside the document; IntegrityError if they do not match the recorded digest."""
        with self.opened(name) as file:
            data = file.read()
        self.require(name, hashlib.sha256(data).hexdigest())
        return data

    def checked(self, name: str) -> Path:
        """Return the path of a file too large for memory, after checking it; IntegrityError as `read`."""
        self.require(name, self._digest(name))
        return self.folder / name

    def digest(self, name: str) -> str:
        """Return the recorded SHA-256 of a file; of a document without digests, the SHA-256 of the file as it is."""
        return self._digest(name) if self.files is None else self.files.get(name, "")

    def _digest(self, name: str) -> str:
        with self.opened(name) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def require(self, name: str, digest: str) -> None:
        """Raise IntegrityError if a digest differs from the one that the document records for a file."""
        if self.files is not None and self.files.get(name) != digest:
            raise self.broken(name, f"is not the file that {self.path.name} names (another digest)")

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[io.BufferedReader]:
        """Open a file for reading; one-line errors where it is missing or the disk does not give it."""
        try:
            with (self.folder / name).open("rb") as opened:
                yield opened
        except FileNotFoundError:
            raise self.broken(name, f"is missing, and {self.path.name} names it") from None
        except OSError as error:
            raise IcecoreError(f"{self.path.parent / name}: {_unreadable(error)}; {self.remedy}") from None

    def broken(self, name: str, what: str) -> IntegrityError:
        """Return the error that a file beside the document, or the document, cannot be used."""
        return IntegrityError(f"{self.path.parent / name}: {what}; {self.remedy}")


def load_document(path: Path, remedy: str) -> Document:
    """Read a document and check it against its own checksum.

    Raises:
        FileNotFoundError: there is none; the caller knows what that means.
        IntegrityError: the document is not the one that was written, or not JSON.
        IcecoreError: a later version wrote it, or the disk does not give it.
    """
    real = path.resolve()
    try:
        data = real.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(str(path)) from None
    except OSError as error:
        raise IcecoreError(f"{path}: {_unreadable(error)}; {remedy}") from None
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{path}: is not JSON that can be read ({_in_a_line(error)}); {remedy}") from None
    return check_document(path, real.parent, document, remedy)


def document_bytes(content: Mapping[str, Any], files: Mapping[str, str]) -> bytes:
    """Return the JSON bytes of a document: its content, the digests of the files beside it, its own checksum."""
    document = {"format": FORMAT, **content, "files": dict(files)}
    return json.dumps({**document, "checksum": checksum(document)}, indent=2).encode()


def checksum(value: object) -> str:
    """Return the SHA-256 of a value's canonical JSON, which does not depend on the order of keys.

    >>> checksum({"a": 1, "b": 2}) == checksum({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def check_document(path: Path, folder: Path, document: Any, remedy: str) -> Document:
    """Check what JSON said in a file, or in a part of one, against its own checksum; `folder` is where its files are.

    Raises:
        IntegrityError: it is not the document that was written.
        IcecoreError: a later version wrote it.
    """
    if not isinstance(document, dict):
        raise IntegrityError(f"{path}: expected keys and values, found {type(document).__name__}; {remedy}")
    content = {key: value for key, value in document.items() if key not in OWN}
    version = document.get("format", 1)
    if version == 1 and not {"files", "checksum"} & document.keys():
        return Document(path, folder, content, None, checksum(content), remedy)
    if isinstance(version, int) and version > FORMAT:
        raise IcecoreError(f"{path}: has format {version}, this icecore reads formats 1 to {FORMAT}; upgrade icecore")
    found = document.pop("checksum", None)
    if found != checksum(document):
        raise IntegrityError(f"{path}: is not the document that was written (another checksum); {remedy}")
    return Document(path, folder, content, document.get("files", {}), found, remedy)


def _unreadable(error: OSError) -> str:
    return f"cannot be read ({error.strerror or error})"


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split())
