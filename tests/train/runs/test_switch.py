"""Files that are replaced together: stopped anywhere, whoever reads finds the old ones, the new ones, or none."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from icecore.train.runs.atomic_switch import MakeRoot, replace_files, switch_files

from ..sweep.stopping import stopped_at

OLD = {"root.json": b"old", "table": b"old table", "folder/a": b"old a", "folder/b": b"old b"}
NEW = {"root.json": b"new", "table": b"new table", "folder/a": b"new a", "folder/c": b"new c"}

Files = dict[str, bytes]
Write = Callable[[Path, Files], None]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here asks whether bytes outlast a power cut, which takes most of the time."""
    monkeypatch.setattr("os.fsync", lambda _: None)


def as_given(files: Files) -> tuple[str, MakeRoot, Files]:
    """What the two are given: the root's name, what makes it of the digests of the others, and the others."""
    root, *others = files

    def make_root(digests: Mapping[str, str]) -> bytes:
        assert digests == {name: hashlib.sha256(files[name]).hexdigest() for name in others}
        return files[root]

    return root, make_root, {name: files[name] for name in others}


def by_switch(folder: Path, files: Files) -> None:
    switch_files(folder, "sets", *as_given(files))


def by_replace(folder: Path, files: Files) -> None:
    replace_files(folder, *as_given(files))


def found(folder: Path) -> Files | None:
    """All files as a reader sees them, None where there is no root."""
    if not (folder / "root.json").exists():
        return None
    names = sorted({*OLD, *NEW})
    return {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}


def every_stop(write: Write, tmp_path: Path, prepare: Callable[[Path], None]) -> list[Files | None]:
    """What a reader finds after a stop before each step; afterwards the same is written whole."""
    seen: list[Files | None] = []
    stopped = True
    while stopped:
        folder = tmp_path / str(len(seen))
        folder.mkdir()
        prepare(folder)
        stopped = stopped_at(len(seen), lambda folder=folder: write(folder, NEW))
        seen.append(found(folder))
        write(folder, NEW)
        assert {name: data for name, data in (found(folder) or {}).items() if name in NEW} == NEW
        assert not [path for path in folder.iterdir() if path.name.endswith(".new")]
    assert len(seen) > 20
    return seen


def test_a_switch_has_the_old_files_until_it_has_the_new(tmp_path: Path) -> None:
    seen = every_stop(by_switch, tmp_path, lambda folder: by_switch(folder, OLD))
    first_new = seen.index(NEW)
    assert seen[:first_new] == [OLD] * first_new
    assert seen[first_new:] == [NEW] * (len(seen) - first_new)


def test_the_first_switch_has_nothing_until_it_has_all(tmp_path: Path) -> None:
    seen = every_stop(by_switch, tmp_path, lambda _: None)
    first_new = seen.index(NEW)
    assert seen == [None] * first_new + [NEW] * (len(seen) - first_new)


def plainly(folder: Path) -> None:
    """As an earlier version, or a copy without links, leaves them."""
    for name, data in OLD.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)


def test_files_that_are_no_links_yet_are_never_mixed_with_new_ones(tmp_path: Path) -> None:
    seen = every_stop(by_switch, tmp_path, plainly)
    assert all(one in (OLD, None, NEW) for one in seen)
    assert seen[0] == OLD
    assert seen[-1] == NEW


def without_the_rest(files: Files) -> Files:
    return {**files, "folder/b": OLD["folder/b"]}  # what nobody names is left alone


def test_replaced_files_have_no_root_while_they_are_a_mixture(tmp_path: Path) -> None:
    seen = every_stop(by_replace, tmp_path, plainly)
    assert [one for one in seen if one not in (OLD, None, without_the_rest(NEW))] == []
    assert None in seen
    assert seen[0] == OLD
    assert seen[-1] == without_the_rest(NEW)


def test_without_symbolic_links_files_are_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refused)
    by_switch(tmp_path, OLD)
    by_switch(tmp_path, NEW)
    assert found(tmp_path) == without_the_rest(NEW)
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


def test_whoever_reads_an_old_set_can_finish_it(tmp_path: Path) -> None:
    by_switch(tmp_path, OLD)
    reading = (tmp_path / "root.json").resolve().parent
    by_switch(tmp_path, NEW)
    assert (reading / "folder/b").read_bytes() == b"old b"
    by_switch(tmp_path, NEW)
    by_switch(tmp_path, NEW)
    assert len([path for path in (tmp_path / "sets").iterdir() if not path.is_symlink()]) == 2


def test_what_cannot_be_written_leaves_the_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_switch(tmp_path, OLD)
    before = sorted(tmp_path.rglob("*"))

    def full(url: str, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    # of the root: all others are written by then
    monkeypatch.setattr("icecore.train.runs.atomic_switch.write_atomic", full)
    for write in (by_switch, by_replace):
        with pytest.raises(OSError, match="No space left"):
            write(tmp_path, NEW)
        assert found(tmp_path) == OLD
        assert sorted(tmp_path.rglob("*")) == before
