"""Several files of a folder replaced together: whoever reads, and whatever is killed, there is never a mixture.

The root is the file that names the others. `replace` takes the root away while it replaces files where they lie.
`switch` loses nothing even then: each set of files has a folder of its own, a symbolic link says which set counts, and
to replace a link is one step. Whoever calls either holds the folder against other writers.
"""

import contextlib
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

from icecore.store import create_atomic, write_atomic

CURRENT = "current"  # the link, among the sets

Content = bytes | Callable[[IO[bytes]], str]  # what is in a file; or what writes it and returns its digest
Seal = Callable[[Mapping[str, str]], bytes]  # makes the root of the digests of the other files


def replace(folder: Path, root: str, seal: Seal, files: Mapping[str, Content]) -> None:
    """Replace files of a folder; all are on disk before the first of the old goes, and the root comes last."""
    with _written(folder / f".{root}.new", root, seal, files) as staged:
        (folder / root).unlink(missing_ok=True)
        for name in [*files, root]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (staged / name).replace(folder / name)
        _sync(folder)
        shutil.rmtree(staged)


def switch(folder: Path, sets: str, root: str, seal: Seal, files: Mapping[str, Content]) -> None:
    """Replace files of a folder, which are links to a set of them in `folder/sets`.

    The set before stays for who is reading it. Where the file system has no symbolic links, the files are replaced.
    """
    place, new = folder / sets, uuid.uuid4().hex[:16]
    place.mkdir(exist_ok=True)
    if not _has_links(place):
        replace(folder, root, seal, files)
        return
    with _written(place / new, root, seal, files):
        for name in dict.fromkeys([root, *(name.split("/")[0] for name in files)]):
            _link(folder / name, f"{sets}/{CURRENT}/{name}")
    before = (place / CURRENT).resolve().name
    _link(place / CURRENT, new)
    for old in place.iterdir():
        if old.is_dir() and not old.is_symlink() and old.name not in (new, before):
            shutil.rmtree(old)


@contextlib.contextmanager
def _written(place: Path, root: str, seal: Seal, files: Mapping[str, Content]) -> Iterator[Path]:
    """Write files to a new folder; it is gone where that, or what follows, fails."""
    shutil.rmtree(place, ignore_errors=True)
    try:
        digests = {name: _write(place / name, content) for name, content in files.items()}
        write_atomic(str(place / root), seal(digests))
        yield place
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise


def _write(path: Path, content: Content) -> str:
    """Write a file and return its digest."""
    with create_atomic(str(path)) as file:
        if isinstance(content, bytes):
            file.write(content)
            return hashlib.sha256(content).hexdigest()
        return content(file)


def _has_links(place: Path) -> bool:
    try:
        _link(place / ".link", ".")
        (place / ".link").unlink()
    except OSError:
        return False
    return True


def _link(path: Path, target: str) -> None:
    """Let a path be a link, in one step unless it is a folder that an earlier version or a copy has left."""
    if path.is_symlink() and str(path.readlink()) == target:
        return
    made = path.with_name(f".{path.name}.new")
    made.unlink(missing_ok=True)
    made.symlink_to(target)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    made.replace(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
