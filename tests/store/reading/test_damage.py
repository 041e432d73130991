"""Damage of any kind to any file is named by verify, and no read returns wrong data."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from icecore.store import IcecoreError, IntegrityError, Store, open_store, verify
from icecore.store.documents.root import BACKBONE_TENSORS, ROOT, load_root, root_document
from icecore.store.files.location import open_location
from icecore.store.format.checksum import sha256

from ..conftest import FROZEN, fill, make_spec, make_tokens


def files(url: str) -> list[Path]:
    """Every file of a store but the lock, which is empty."""
    return sorted(path for path in Path(url).rglob("*") if path.is_file() and path.name != "lock")


def read_everything(url: str) -> tuple[dict[int, Tensor], dict[str, Tensor], list[dict]]:
    store: Store = open_store(url)
    store.require_complete()
    tokens = {layer: store.layer(layer).rows(slice(None)) for layer in store.layers}
    return tokens, store.frozen().tensors, store.samples.to_pylist()


def same(found: object, exact: object) -> bool:
    if isinstance(found, Tensor) and isinstance(exact, Tensor):
        return torch.equal(found, exact)
    if isinstance(found, dict) and isinstance(exact, dict):
        return found.keys() == exact.keys() and all(same(found[key], exact[key]) for key in exact)
    if isinstance(found, tuple) and isinstance(exact, tuple):
        return all(same(ours, theirs) for ours, theirs in zip(found, exact, strict=True))
    return found == exact


def assert_noticed(url: str, exact: object, damaged: Path) -> None:
    """Verify names the file; a read refuses, or returns what was written."""
    named = {problem.file for problem in verify(url)}
    assert damaged.relative_to(url).as_posix() in named, damaged
    try:
        found = read_everything(url)
    except IcecoreError:
        return
    assert same(found, exact), f"{damaged}: wrong data, silently"


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "int4"])
def test_no_flipped_bit_is_silent(url: str, dtype: str) -> None:
    small = make_tokens(70)
    fill(url, small, make_spec(70, dtype=dtype))
    exact = read_everything(url)
    chance = random.Random(dtype)
    paths = files(url)
    for flip in range(300):
        path = paths[flip % len(paths)]
        data = bytearray(path.read_bytes())
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        original = path.read_bytes()
        path.write_bytes(data)
        assert_noticed(url, exact, path)
        path.write_bytes(original)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


@pytest.mark.parametrize("damage", [truncate, empty, lengthen, Path.unlink])
def test_truncated_empty_longer_and_missing_files(full: Callable[..., str], damage: Callable[[Path], None]) -> None:
    url = full(dtype="int8")
    exact = read_everything(url)
    for path in files(url):
        original = path.read_bytes()
        damage(path)
        assert_noticed(url, exact, path)
        path.write_bytes(original)
    assert verify(url) == []


def test_swapped_and_foreign_files(full: Callable[..., str], tmp_path: Path, tokens: dict[int, Tensor]) -> None:
    url, foreign = full(), str(tmp_path / "foreign.ice")
    exact = read_everything(url)
    fill(foreign, {layer: value + 1 for layer, value in tokens.items()})
    names = [path.relative_to(url) for path in files(url) if "/c/" in str(path) or "ledger" in str(path)]
    for name in names:
        theirs = [Path(foreign) / name, *(Path(url) / other for other in names if other != name)]
        for source in (path for path in theirs if path.stat().st_size == (Path(url) / name).stat().st_size):
            original = (Path(url) / name).read_bytes()
            shutil.copy(source, Path(url) / name)
            assert_noticed(url, exact, Path(url) / name)
            (Path(url) / name).write_bytes(original)


def test_every_damaged_file_can_be_made_good_again(full: Callable[..., str], tokens: dict[int, Tensor]) -> None:
    url = full(dtype="int8")
    exact = read_everything(url)
    for path in files(url):
        truncate(path)
        assert verify(url, repair=True)
        fill(url, tokens, make_spec(dtype="int8"))
        assert verify(url) == [], path
        assert same(read_everything(url), exact)


def test_a_damaged_compressed_chunk(full: Callable[..., str]) -> None:
    url = full(compressor="zstd")
    path = Path(url) / "layers/03/values/c/0/1/0/0"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    assert [(problem.layer, problem.rows) for problem in verify(url)] == [(3, (64, 128))]
    with pytest.raises(IntegrityError, match="chunk 0: does not match the checksum"):
        open_store(url).layer(3).rows(slice(64, 70))


def test_the_backbone_is_never_unpickled(full: Callable[..., str]) -> None:
    url = full()
    torch.save(FROZEN.tensors, Path(url) / "backbone/frozen.safetensors")
    with pytest.raises(IntegrityError, match=r"frozen.safetensors is not the file that was written"):
        open_store(url).frozen()


def test_a_header_of_absurd_size_is_refused(full: Callable[..., str]) -> None:
    url = full()
    root = load_root(open_location(url))
    absurd = (2**60).to_bytes(8, "little") + b"{}"
    files = {**root.files, BACKBONE_TENSORS: sha256(absurd)}  # as a forger would who can also sign
    for name, data in ((BACKBONE_TENSORS, absurd), (ROOT, root_document(root.model_copy(update={"files": files})))):
        (Path(url) / name).write_bytes(data)
    with pytest.raises(IntegrityError, match=r"backbone/frozen.safetensors: .*[Hh]eader"):
        open_store(url).frozen()
