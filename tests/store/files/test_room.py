"""What a store weighs is known beforehand, and a full disk costs nothing but the shards in flight."""

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from icecore.store import IcecoreError, LayerSpec, StoreSpec, estimate_size, only_writer, open_store, verify
from icecore.store.codecs import CODECS

from ..conftest import FROZEN, fill, make_samples, make_spec, make_tokens


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    mount = tmp_path / "disk"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", mount], capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs needs more rights than these")
    yield mount
    subprocess.run(["umount", "--lazy", mount], check=True)


def test_a_full_disk_stops_with_a_clear_error_and_resumes(small_disk: Path, tokens: dict[int, Tensor]) -> None:
    url = str(small_disk / "s.ice")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(500_000))
    with pytest.raises(
        IcecoreError, match=r"no space left on the device; finished shards are kept, free some space and"
    ):
        fill(url, tokens)
    done = open_store(url)
    assert 0 < done.num_missing < 203
    ballast.unlink()
    fill(url, tokens)
    assert verify(url) == []
    assert torch.equal(open_store(url).layer(0).rows(slice(None)), tokens[0])


def test_no_space_at_any_write(tmp_path: Path, tokens: dict[int, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    sync = os.fsync
    for allowed in range(25):
        url = str(tmp_path / f"{allowed}.ice")
        calls = iter(range(10**6))

        def full(descriptor: int, calls: Iterator[int] = calls, allowed: int = allowed) -> None:
            if next(calls) >= allowed:
                raise OSError(errno.ENOSPC, "No space left on device")
            sync(descriptor)

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(IcecoreError, match="no space left on the device"):
            fill(url, tokens)
        monkeypatch.setattr(os, "fsync", sync)
        assert not list((Path(url) / "partial").glob("*"))
        fill(url, tokens)
        assert verify(url) == []


def _full_after(monkeypatch: pytest.MonkeyPatch, allowed: int) -> None:
    sync, calls = os.fsync, iter(range(10**6))

    def full(descriptor: int) -> None:
        if next(calls) >= allowed:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)


def _refusal(url: str, tokens: dict[int, Tensor], spec: StoreSpec) -> str | None:
    try:
        fill(url, tokens, spec)
    except IcecoreError as error:
        return str(error)
    return None


@pytest.mark.parametrize("dtype", ["float32", "int4"])
def test_no_space_at_any_small_file_of_a_store_that_grows(tmp_path: Path, dtype: str) -> None:
    tokens = make_tokens(20)
    more = make_spec(20, dtype=dtype)
    first = make_spec(20, dtype=dtype, identity={"layers": (0,)})
    num_refused = 0
    for allowed in range(0, 40, 2):  # a file is synced, then its folder
        url = str(tmp_path / f"{allowed}.ice")
        fill(url, tokens, first)
        before = open_store(url).layer(0).rows(slice(None))
        with pytest.MonkeyPatch.context() as patch:
            _full_after(patch, allowed)
            message = _refusal(url, tokens, more)
        if message is None:
            break
        assert "no space left on the device; finished shards are kept" in message
        num_refused += 1
        assert torch.equal(open_store(url).layer(0).rows(slice(None)), before)
        assert {problem.kind for problem in verify(url)} <= {"missing"}
        fill(url, tokens, more)
        assert verify(url) == []
    assert 5 < num_refused < 20


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_a_disk_that_may_not_be_written_is_one_line(
    url: str, tokens: dict[int, Tensor], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(IcecoreError, match=rf"{url}: (cannot be written|no space left on the device).*; finished"):
        fill(url, tokens)
    with pytest.raises(IcecoreError, match="run the command again"), only_writer(url):
        pass


@pytest.mark.parametrize("num_rows", [3, 203, 1000])
@pytest.mark.parametrize("dtype", CODECS)
def test_the_estimate_is_right_to_five_percent(url: str, dtype: str, num_rows: int) -> None:
    shape = LayerSpec(num_tokens=50, width=96, num_prefix=1, grid=(7, 7))
    spec = make_spec(num_rows, dtype=dtype).model_copy(update={"layers": {0: shape, 3: shape}})
    tokens = {layer: torch.randn(num_rows, 50, 96) for layer in (0, 3)}
    fill(url, tokens, spec)
    store = open_store(url)
    small = sum(tensor.nbytes for tensor in FROZEN.tensors.values()) + 20_000  # metadata, for a store this small
    assert estimate_size(spec, num_rows, small).total == pytest.approx(store.num_bytes(), rel=0.05)


def test_int8_and_int4_sizes(tmp_path: Path) -> None:
    shape = LayerSpec(num_tokens=197, width=192, num_prefix=1, grid=(14, 14))
    layers = tuple(range(13))
    total: dict[str, int] = {}
    for dtype in ("float16", "int8", "int4"):
        spec = make_spec(2020, dtype=dtype, identity={"layers": layers})
        spec = spec.model_copy(update={"layers": dict.fromkeys(layers, shape)})
        total[dtype] = estimate_size(spec, 2020, 21_500_000).total
    assert total["int8"] <= 0.52 * total["float16"]
    assert total["int4"] <= 0.30 * total["float16"]


def test_contiguous_reads_cost_little_more_than_their_bytes(
    full: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(full(shard_rows=64))
    read = 0
    preadv = os.preadv

    def counting(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        nonlocal read
        count = preadv(descriptor, buffers, offset)
        read += count
        return count

    monkeypatch.setattr(os, "preadv", counting)
    tokens = store.layer(0).rows(slice(0, 192))
    assert read <= 1.1 * tokens.nbytes
    assert len(make_samples()) == store.num_rows
