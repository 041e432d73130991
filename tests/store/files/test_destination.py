"""Nothing is written where somebody else's work is, and what is ours is known by what it says."""

import json
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
from torch import Tensor

from icecore.store import UsageError, only_writer, open_store, require_destination, verify
from icecore.store.files.destination import KINDS, Contents, Kind, contents

from ..conftest import fill, make_tokens

SIGNED = json.dumps({"host": "here", "pid": 1, "since": "now", "token": "x"})
RUN = {"run.json": '{"format": 1, "identity_sha256": "0"}', "results.parquet": "PAR1"}
BUNDLE = {"bundle.json": '{"backbone_config": {}}', "README.md": "# Card"}
STUDY = {"comparison.json": '{"score_name": "top-1"}'}

FOLDERS: list[tuple[dict[str, str], Contents]] = [
    ({}, "empty"),
    ({".DS_Store": "x"}, "empty"),
    ({"lock": ""}, "unfinished"),
    ({"lock": SIGNED, "partial/" + "0a" * 16: "half a file"}, "unfinished"),
    ({"lock": SIGNED[:12]}, "unfinished"),
    ({"ledger/lock": SIGNED, "ledger/.store.json.0123abcd": "{"}, "unfinished"),
    ({"zarr.json": '{"attributes": {"icecore": {}}}'}, "store"),
    ({"icecore.json": '{"attributes": {"icecore": {', "zarr.json": ""}, "store"),
    (RUN, "run"),
    ({"ledger/store.json": '{"identity_sha256": "0"}'}, "run"),
    (BUNDLE, "bundle"),
    (STUDY, "study"),
    ({**RUN, "zarr.json": '{"attributes": {"icecore": {}}}'}, "store"),
    ({"lock": "my notes"}, "other"),
    ({"partial/thesis.tex": "years of work"}, "other"),
    ({"partial/" + "0a" * 16: "half a file", "notes.txt": ""}, "other"),
    ({"zarr.json": '{"zarr_format": 3, "node_type": "group", "attributes": {}}'}, "other"),
    ({"run.json": '{"command": "of another tracker"}'}, "other"),
    ({"results.parquet": "PAR1"}, "other"),
    ({"README.md": "# Mine"}, "other"),
    ({"samples.parquet": "PAR1", "lock": ""}, "other"),
    ({"ledger/2024.csv": "money"}, "other"),
    ({"train/cat/0.png": "x"}, "other"),
    ({".git/HEAD": "ref"}, "other"),
]


def make(folder: Path, files: dict[str, str]) -> str:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return str(folder)


def listing(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize(("files", "kind"), FOLDERS)
def test_a_folder_is_what_its_documents_say(tmp_path: Path, files: dict[str, str], kind: Contents) -> None:
    assert contents(make(tmp_path / "f", files)) == kind


@pytest.mark.parametrize(("files", "kind"), [one for one in FOLDERS if one[0]])
def test_a_remote_folder_is_what_its_documents_say(files: dict[str, str], kind: Contents) -> None:
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    for name, text in files.items():
        memory.pipe_file(f"/there/f/{name}", text.encode())
    assert contents("memory://there/f") == kind
    assert contents("memory://there/g") == "new"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("files", "held"), FOLDERS)
def test_only_new_empty_and_our_own_folders_are_written_to(
    tmp_path: Path, files: dict[str, str], held: Contents, kind: Kind
) -> None:
    url = make(tmp_path / "f", files)
    before = listing(tmp_path)
    if held in ("empty", "unfinished", kind):
        require_destination(url, kind)
    else:
        with pytest.raises(UsageError, match=rf"{url}: holds .*, expected a new or an empty folder, or a .*; choose"):
            require_destination(url, kind)
    assert listing(tmp_path) == before


@pytest.mark.parametrize(("files", "held"), [one for one in FOLDERS if one[1] not in ("empty", "unfinished", "store")])
def test_a_writer_of_a_store_leaves_every_other_folder_as_it_was(
    tmp_path: Path, files: dict[str, str], held: Contents, tokens: dict[int, Tensor]
) -> None:
    url = make(tmp_path / "f", files)
    before = listing(tmp_path)
    with pytest.raises(UsageError, match="choose another place"):
        fill(url, tokens)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("files", [files for files, held in FOLDERS if held in ("empty", "unfinished")])
def test_a_store_is_made_in_an_empty_folder_and_in_what_a_killed_writer_left(
    tmp_path: Path, files: dict[str, str]
) -> None:
    url = make(tmp_path / "f", files)
    fill(url, make_tokens(10))
    assert verify(url) == []


def test_a_lock_or_a_partial_folder_of_others_is_never_touched(tmp_path: Path, full: Callable[..., str]) -> None:
    url = full()
    mine = Path(url, "partial", "thesis.tex")  # even within a store
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("years of work")
    fill(url, make_tokens())
    assert mine.read_text() == "years of work"
    folder = Path(make(tmp_path / "f", {"lock": "my notes"}))
    with pytest.raises(UsageError, match="lock: is not a lock file of icecore"), only_writer(str(folder)):
        pass
    assert (folder / "lock").read_text() == "my notes"


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    (tmp_path / "file.txt").write_text("text")
    return tmp_path


@pytest.mark.parametrize("name", ["file.txt", "file.txt/x.ice", "file.txt/x/y.ice"])
def test_a_store_at_or_below_a_file_is_one_line(odd: Path, name: str) -> None:
    with pytest.raises(UsageError, match=rf"{name}: is a file or lies below one, expected a folder"):
        fill(str(odd / name), make_tokens(10))
    assert (odd / "file.txt").read_text() == "text"


def test_a_remote_store_at_a_file_is_one_line() -> None:
    fsspec.filesystem("memory").pipe_file("/there/file.txt", b"text")
    with pytest.raises(UsageError, match="is a file or lies below one"):
        require_destination("memory://there/file.txt", "store")


@pytest.mark.parametrize(
    "name", ["größe 100%.ice", "a[b]*,?.ice", "co:lon.ice", "new\nline.ice", "-dash.ice", "x.ice/"]
)
def test_a_store_may_have_any_name(odd: Path, name: str) -> None:
    url = str(odd) + "/" + name
    for _ in range(2):
        fill(url, make_tokens(10))
    assert open_store(url).num_missing == 0


@pytest.mark.parametrize(("name", "message"), [("caf\udce9.ice", "is not valid UTF-8"), ("x" * 300, "name too long")])
def test_a_name_that_cannot_be_is_one_line(odd: Path, name: str, message: str) -> None:
    with pytest.raises(UsageError, match=rf"(?i){message}.*; choose another place"):
        fill(str(odd / name), make_tokens(10))
    assert [path.name for path in odd.iterdir()] == ["file.txt"]
