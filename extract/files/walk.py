"""Lists the files below a folder, through linked folders too; hidden and system files are counted and left out."""

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from icecore.store import IcecoreError

from ..decoding.decode import EXTENSIONS
from .tally import Tally
from .video_files import INSTEAD, is_clip

SYSTEM = frozenset(  # folders and files that operating systems and file servers leave, in lower case
    {
        "__macosx",
        "@eadir",
        "#recycle",
        "@recycle",
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
    }
)
HIDDEN = "hidden or system files"


def is_hidden(name: str) -> bool:
    """Return whether a file or folder name is hidden, or that of an operating system's own files."""
    return name.startswith(".") or name.lower() in SYSTEM


def is_image(name: str) -> bool:
    """Return whether a file name has the ending of an image format that can be decoded."""
    return os.path.splitext(name)[1].lower() in EXTENSIONS  # noqa: PTH122  twice as fast as pathlib


def passed_over(path: str) -> str | None:
    """Return the reason to leave out a member of an archive; None for an image."""
    if any(map(is_hidden, PurePosixPath(path).parts)):  # without the "." of ./a.png
        return HIDDEN
    return None if is_image(path) else ending_of(path)


def ending_of(name: str) -> str:
    """Return a reason for leaving out a file, by its ending, as `Tally` counts it."""
    if is_clip(name):
        return f"files ending in {Path(name).suffix.lower()}: {INSTEAD}"
    ending = re.search(r"\.[a-z][a-z0-9]{0,7}$", name.lower())
    return f"files ending in {ending[0]}" if ending else "files without a known ending"


def readable(name: str) -> str:
    """Return a file name as text; bytes that are not UTF-8 become hexadecimal, such as %E9."""
    return re.sub("[\udc80-\udcff]", lambda byte: f"%{ord(byte[0]) - 0xDC00:02X}", name)


def walk(root: Path, tally: Tally) -> Iterator[tuple[str, list[str]]]:
    """Yield every folder below `root` that is not hidden, as its relative path and the names of its files, sorted.

    Linked folders are followed, unless they lead back to a folder above them.

    Raises:
        IcecoreError: a folder cannot be listed.
    """
    yield from _walk(root, "", (), tally)


def files_below(root: Path, endings: tuple[str, ...], tally: Tally) -> list[str]:
    """Return the relative path of every file below `root` that has one of the endings (in lower case), sorted."""
    found = [_join(folder, file) for folder, files in walk(root, tally) for file in files]
    for file in found:
        if not file.lower().endswith(endings):
            tally.pass_over(ending_of(file), readable(file))
    return sorted((file for file in found if file.lower().endswith(endings)), key=lambda file: file.split("/"))


def images_below(root: Path, tally: Tally) -> list[str]:
    """Return the relative path of every image below `root`; other files and folders without an image are counted."""
    images: list[str] = []
    folders: dict[str, bool] = {}
    for folder, files in walk(root, tally):
        folders[folder] = False
        for file in files:
            path = _join(folder, file)
            if is_image(file):
                images.append(path)
                _mark(folders, folder)
            else:
                tally.pass_over(ending_of(file), readable(path))
    for folder, holds_images in folders.items():
        if not holds_images and folders.get(folder.rpartition("/")[0], False):
            tally.pass_over("folders without an image", readable(folder))
    return images


def _mark(folders: dict[str, bool], folder: str) -> None:
    """Record that a folder, and every folder above it, holds an image."""
    while not folders[folder]:
        folders[folder] = True
        folder = folder.rpartition("/")[0]


def _walk(root: Path, folder: str, above: tuple[tuple[int, int], ...], tally: Tally) -> Iterator[tuple[str, list[str]]]:
    """Yield a folder and the folders below; `above` has the device and inode of every folder above."""
    status = os.stat(root / folder)  # noqa: PTH116
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        tally.pass_over("linked folders that lead back to a folder above them", readable(folder))
        return
    folders, files = [], []
    for entry in _entries(root / folder):
        if is_hidden(entry.name):
            _pass_over_hidden(entry, _join(folder, entry.name), tally)
        else:
            (folders if entry.is_dir() else files).append(entry.name)
    yield folder, files
    for name in folders:
        yield from _walk(root, _join(folder, name), (*above, identity), tally)


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise IcecoreError(
            f"{folder}: cannot be listed ({error.strerror}); expected a folder that can be read"
        ) from error


def _pass_over_hidden(entry: os.DirEntry[str], path: str, tally: Tally) -> None:
    """Count a hidden file, or every file in a hidden folder."""
    if not entry.is_dir(follow_symlinks=False):
        tally.pass_over(HIDDEN, readable(path))
        return
    for folder, _, files in os.walk(entry.path):
        for file in files:
            tally.pass_over(HIDDEN, readable(f"{path}{folder[len(entry.path) :]}/{file}"))
