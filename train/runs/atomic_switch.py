"""Replace several files of a folder together, so that neither a reader nor a killed process ever sees a mixture.

One file, the root, names the others by their digests. `replace_files` removes the root while it replaces the files in
place: until the new root is there, the folder counts as incomplete. `switch_files` never passes through an incomplete
state: each set of files has a folder of its own, a symbolic link names the current set, and replacing a link is one
atomic step. The caller holds the folder against other writers.
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

CURRENT = "current"  # the link to the current set, beside the sets

Content = bytes | Callable[[IO[bytes]], str]  # the bytes of a file, or a function that writes them and returns a digest
MakeRoot = Callable[[Mapping[str, str]], bytes]  # makes the root's bytes from the digests of the other files, by name


def replace_files(folder: Path, root: str, make_root: MakeRoot, files: Mapping[str, Content]) -> None:
    """Replace files of a folder in place; all are written to disk before the first old file goes, the root last."""
    with _staged(folder / f".{root}.new", root, make_root, files) as staging:
        # Without a root the folder is incomplete: a reader refuses it instead of mixing old files and new ones.
        (folder / root).unlink(missing_ok=True)
        for name in [*files, root]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (staging / name).replace(folder / name)
        _sync(folder)
        shutil.rmtree(staging)


def switch_files(folder: Path, sets: str, root: str, make_root: MakeRoot, files: Mapping[str, Content]) -> None:
    """Replace files of a folder, which are links into the current set of `folder/sets`, in one step.

    The set before stays, for readers that have it open. Where the file system has no symbolic links, the files are
    replaced as by `replace_files`.
    """
    sets_folder, new_set = folder / sets, uuid.uuid4().hex[:16]
    sets_folder.mkdir(exist_ok=True)
    if not _has_links(sets_folder):
        replace_files(folder, root, make_root, files)
        return
    with _staged(sets_folder / new_set, root, make_root, files):
        # The links lead through `current`, so they are right before and after the switch, and are made only once.
        for name in dict.fromkeys([root, *(name.split("/")[0] for name in files)]):
            _link(folder / name, f"{sets}/{CURRENT}/{name}")
    set_before = (sets_folder / CURRENT).resolve().name
    _link(sets_folder / CURRENT, new_set)
    for old_set in sets_folder.iterdir():
        if old_set.is_dir() and not old_set.is_symlink() and old_set.name not in (new_set, set_before):
            shutil.rmtree(old_set)


@contextlib.contextmanager
def _staged(staging: Path, root: str, make_root: MakeRoot, files: Mapping[str, Content]) -> Iterator[Path]:
    """Write files and root to a new folder; remove the folder if writing, or the body of the `with`, fails."""
    shutil.rmtree(staging, ignore_errors=True)
    try:
        digests = {name: _write(staging / name, content) for name, content in files.items()}
        write_atomic(str(staging / root), make_root(digests))
        yield staging
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _write(path: Path, content: Content) -> str:
    """Write a file and return its digest."""
    with create_atomic(str(path)) as file:
        if isinstance(content, bytes):
            file.write(content)
            return hashlib.sha256(content).hexdigest()
        return content(file)


def _has_links(folder: Path) -> bool:
    try:
        _link(folder / ".link", ".")
        (folder / ".link").unlink()
    except OSError:
        return False
    return True


def _link(path: Path, target: str) -> None:
    """Make a path a symbolic link, in one step unless a folder, left by an earlier version or a copy, is in the way."""
    if path.is_symlink() and str(path.readlink()) == target:
        return
    new_link = path.with_name(f".{path.name}.new")
    new_link.unlink(missing_ok=True)
    new_link.symlink_to(target)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    new_link.replace(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
