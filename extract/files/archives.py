"""Reads members of tar archives in any order; archives may be compressed or split into pieces."""

import bz2
import contextlib
import gzip
import lzma
import os
import re
import shutil
import tarfile
import tempfile
import threading
import weakref
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from icecore.store import IcecoreError, UsageError

ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
PIECE = re.compile(  # as `split` names them: data.tar.gz.aa, data.tar.000, data.tar.part1
    r"(?P<name>.+\.(?:tar|tgz|tar\.(?:gz|bz2|xz)))\.(?:part-?(?=\d))?(?P<piece>\d+|[a-f][a-z])", re.IGNORECASE
)
OPENERS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
NUM_UNPACKED = 4  # temporary files at a time; decoding ahead of rows in order spans no more archives
EXPECTED = "expected tar files (.tar, .tar.gz, .tgz) with members KEY.jpg (or .png) and KEY.cls"


@dataclass(frozen=True, slots=True)
class Archive:
    """One tar archive: its name without the ending, and its files (several where it was split)."""

    name: str
    files: tuple[Path, ...]

    @property
    def where(self) -> str:
        """The name of the archive in error messages."""
        return str(self.files[0])


def is_archive(name: str) -> bool:
    """Return whether a file name is that of a tar archive or of a piece.

    >>> is_archive("train-00.tar"), is_archive("data.tar.gz.aa"), is_archive("a.zip")
    (True, True, False)
    """
    return name.lower().endswith(ENDINGS) or PIECE.fullmatch(name) is not None


def archives_of(root: Path, files: Sequence[str]) -> list[Archive]:
    """Return the archives among files below a folder, with pieces joined.

    Raises:
        UsageError: a piece is lacking.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for file in files:
        piece = PIECE.fullmatch(file)
        name, part = (piece["name"], piece["piece"]) if piece else (file, "")
        found.setdefault(name, []).append((part, file))
    return [_archive(root, name, parts) for name, parts in sorted(found.items(), key=lambda item: item[0].split("/"))]


def _archive(root: Path, name: str, parts: list[tuple[str, str]]) -> Archive:
    numbers = sorted(
        (int(part) if part.isdecimal() else place, file) for place, (part, file) in enumerate(sorted(parts))
    )
    if [number - numbers[0][0] for number, _ in numbers] != list(range(len(parts))) or numbers[0][0] > 1:
        raise UsageError(
            f"{root / name}: some of its pieces are lacking, there are {len(parts)}; put all in one folder"
        )
    ending = max((end for end in ENDINGS if name.lower().endswith(end)), key=len)
    return Archive(name[: -len(ending)], tuple(root / file for _, file in numbers))


class Archives:
    """Access to members of archives by offset; compressed or split archives are unpacked to temporary files."""

    def __init__(self) -> None:
        self._unpacked: OrderedDict[Archive, IO[bytes]] = OrderedDict()
        self._lock = threading.Lock()
        weakref.finalize(self, _close, self._unpacked)

    def members(self, archive: Archive) -> Iterator[tarfile.TarInfo]:
        """Yield the file members of an archive.

        Raises:
            UsageError: the file is no whole tar archive, or a member is a link or has a path outside of the archive.
        """
        with self._reading(archive), self._opened(archive) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                name = PurePosixPath(member.name)
                if name.is_absolute() or ".." in name.parts or not (member.isfile() or member.isdir()):
                    raise UsageError(
                        f"{archive.where}: member {member.name!r} leads out of the archive or is no plain file"
                    )
                if member.isfile():
                    yield member

    def read(self, archive: Archive, offset: int, num_bytes: int) -> bytes:
        """Return `num_bytes` bytes at an offset of the unpacked archive; threads may call it."""
        with self._opened(archive) as file:
            return os.pread(file.fileno(), num_bytes, offset)

    @contextlib.contextmanager
    def _opened(self, archive: Archive) -> Iterator[IO[bytes]]:
        """Open an archive as a plain tar."""
        if len(archive.files) == 1 and _opener(archive.files[0]) is None:
            with archive.files[0].open("rb") as file:
                yield file
            return
        with self._lock:  # a second thread for the same archive waits instead of unpacking it again
            if archive not in self._unpacked:
                self._unpacked[archive] = _unpack(archive)
            self._unpacked.move_to_end(archive)
            if len(self._unpacked) > NUM_UNPACKED:
                self._unpacked.popitem(last=False)[1].close()
            file = os.dup(self._unpacked[archive].fileno())
        with os.fdopen(file, "rb") as opened:
            opened.seek(0)
            yield opened

    @contextlib.contextmanager
    def _reading(self, archive: Archive) -> Iterator[None]:
        try:
            yield
        except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
            raise UsageError(
                f"{archive.where}: is no tar archive that can be read ({error}); expected a whole one"
            ) from None


def _opener(file: Path) -> Any:
    """Return the function that opens a compressed file; None for an uncompressed file."""
    with file.open("rb") as opened:
        start = opened.read(6)
    return next((opener for magic, opener in OPENERS.items() if start.startswith(magic)), None)


def _unpack(archive: Archive) -> IO[bytes]:
    """Return an unnamed temporary file that holds the archive as an uncompressed tar."""
    with contextlib.ExitStack() as closing_on_error:
        plain = closing_on_error.enter_context(tempfile.TemporaryFile())
        try:
            _copy(archive, plain)
        except OSError as error:
            if error.errno is None:  # gzip raises OSError without errno for bad bytes
                raise
            folder = tempfile.gettempdir()
            raise IcecoreError(
                f"{archive.where}: cannot be unpacked in {folder} ({error.strerror}); unpack it yourself, or set TMPDIR"
            ) from error
        closing_on_error.pop_all()
    return plain


def _copy(archive: Archive, plain: IO[bytes]) -> None:
    """Join the pieces of an archive and decompress the result."""
    opener = _opener(archive.files[0])
    with tempfile.TemporaryFile() if opener else contextlib.nullcontext(plain) as joined:
        for piece in archive.files:
            with piece.open("rb") as file:
                shutil.copyfileobj(file, joined)
        if opener:
            joined.seek(0)
            with opener(joined) as unpacked:
                shutil.copyfileobj(unpacked, plain)
    plain.flush()


def _close(files: OrderedDict[Archive, IO[bytes]]) -> None:
    for file in files.values():
        file.close()
