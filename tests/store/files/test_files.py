"""A file is written where nothing else is, and never in place of something that another wrote."""

from pathlib import Path

import pytest

from icecore.store import UsageError, require_file

from ..conftest import fill, make_tokens

MARK = b"<ours>"


def require(path: Path) -> None:
    require_file(path, lambda there: there.read_bytes().startswith(MARK), "a page of ours")


@pytest.mark.parametrize("content", [None, b"", MARK + b"text"])
def test_a_new_an_empty_and_our_own_file_may_be_written(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "page.html"
    if content is not None:
        path.write_bytes(content)
    require(path)
    assert [one.read_bytes() for one in tmp_path.iterdir()] == ([] if content is None else [content])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("photo.png", "is there already and not a page of ours; remove it or choose another place"),
        ("link.png", "is there already and not a page of ours"),
        ("folder", "is a folder, expected the name of a file"),
        ("none/page.html", "there is no folder '.*none'; make it"),
        ("photo.png/page.html", "there is no folder '.*photo.png'"),
        ("s.ice/zarr.json", "is there already and not a page of ours"),
        ("s.ice/page.html", "lies in a store, where nothing else is kept"),
        ("s.ice/ledger/page.html", "lies in a store, where nothing else is kept"),
        ("caf\udce9.html", "is not valid UTF-8"),
        ("x" * 300, "(?i)name too long"),
    ],
)
def test_every_other_place_is_refused_in_one_line_and_left_as_it_was(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "photo.png").write_bytes(b"\x89PNG")
    (tmp_path / "link.png").symlink_to("photo.png")
    (tmp_path / "folder").mkdir()
    fill(str(tmp_path / "s.ice"), make_tokens(10))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match=says) as caught:
        require(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
