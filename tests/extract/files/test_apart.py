"""A store may not lie in what it is made of, nor around it; beside it, it may."""

from collections.abc import Callable
from pathlib import Path

import pytest

from icecore.extract import ExtractSettings, extract
from icecore.extract.files.apart import require_apart
from icecore.store import UsageError

from ..conftest import BACKBONE, MAKERS, make_csv, make_folder

IN_FOLDERS = ("folder", "parquet", "wds", "timm")


@pytest.mark.parametrize("kind", IN_FOLDERS)
def test_a_store_within_the_source_or_around_it_is_refused(kind: str, tmp_path: Path) -> None:
    root = tmp_path / "data" / kind
    root.parent.mkdir()
    source = MAKERS[kind](root)
    inner = next(path for path in root.rglob("*"))
    for store, message in ((root, "is the source, "), (root / "a" / "s.ice", "lies in the source")):
        with pytest.raises(UsageError, match=message):
            require_apart(source, str(store))
        with pytest.raises(UsageError, match=message):
            require_apart(source, f"file://{store}")
    with pytest.raises(UsageError, match="holds the source"):
        require_apart(source, str(root.parent))
    assert inner.exists()
    for store in (tmp_path / "s.ice", root.parent / "s.ice", Path(f"{root}.ice")):
        require_apart(source, str(store))


def test_links_and_relative_paths_do_not_hide_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_folder(tmp_path / "images")
    (tmp_path / "link").symlink_to(tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    for given, store in (
        (source, "link/s.ice"),
        ("folder:link", "images/s.ice"),
        ("folder:.", "s.ice"),
        ("images", "images/train/s.ice"),
        ("timm:torch/cifar10:images", "images/s.ice"),
    ):
        with pytest.raises(UsageError, match="lies in the source"):
            require_apart(given, store)


@pytest.mark.parametrize("make", [make_csv])
def test_a_store_beside_a_manifest_is_apart_from_it(make: Callable[[Path], str], tmp_path: Path) -> None:
    source = make(tmp_path / "data")
    require_apart(source, str(tmp_path / "data" / "s.ice"))
    with pytest.raises(UsageError, match="holds the source"):
        require_apart(source, str(tmp_path / "data"))


def test_sources_without_a_path_and_remote_stores_are_apart(tmp_path: Path) -> None:
    require_apart("shapes:count", str(tmp_path))
    require_apart(make_folder(tmp_path / "images"), "s3://bucket/images/s.ice")


def test_nothing_is_written_where_it_is_refused(checkpoint: str, tmp_path: Path) -> None:
    source = make_folder(tmp_path / "images")
    before = sorted(tmp_path.rglob("*"))
    settings = ExtractSettings(backbone=BACKBONE, checkpoint=checkpoint)
    for store in ("images", "images/s.ice", "images/train/s.ice", "."):
        with pytest.raises(UsageError):
            extract(source, str(tmp_path / store), settings)
    assert sorted(tmp_path.rglob("*")) == before
