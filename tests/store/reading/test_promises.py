"""Identity, resuming, locking and damage: what may never happen silently."""

import multiprocessing
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from icecore.store import (
    IcecoreError,
    IdentityError,
    IncompleteError,
    IntegrityError,
    LockedError,
    UsageError,
    open_store,
    open_writer,
    verify,
)

from ..conftest import FROZEN, NUM_ROWS, fill, make_samples, make_spec


def test_interrupted_then_resumed_equals_uninterrupted(tmp_path: Path, tokens: dict[int, Tensor]) -> None:
    whole, parts = tmp_path / "whole.ice", tmp_path / "parts.ice"
    fill(str(whole), tokens)
    for _ in range(4):
        fill(str(parts), tokens, num_shards=1)
    for file in whole.rglob("layers/**/*"):
        if file.is_file():
            assert file.read_bytes() == (parts / file.relative_to(whole)).read_bytes()


def test_an_unfinished_shard_does_not_count(url: str, tokens: dict[int, Tensor]) -> None:
    with open_writer(url, make_spec(), make_samples(), FROZEN) as writer:
        with pytest.raises(KeyboardInterrupt), writer.shard(writer.todo[0]) as out:  # noqa: PT012
            out.append([0, 1], {layer: tokens[layer][:2] for layer in tokens})
            raise KeyboardInterrupt
        assert len(writer.todo) == 4
    assert open_store(url).num_missing == NUM_ROWS


def test_an_incomplete_store_says_how_to_finish(url: str, tokens: dict[int, Tensor]) -> None:
    fill(url, tokens, num_shards=2)
    store = open_store(url)
    with pytest.raises(IncompleteError, match="75 of 203 rows are missing; finish it with: icecore extract folder:x"):
        store.require_complete()
    with pytest.raises(IncompleteError, match=r"64 of the rows asked for \(shard 2, layer 0, view 0\)"):
        store.layer(0).rows(slice(None))
    assert torch.equal(store.layer(0).rows(slice(0, 128)), tokens[0][:128])
    assert [problem.rows for problem in verify(url)] == [(128, 192), (192, 203)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone": "large"}, "backbone: tiny in the store, large asked for"),
        (
            {"preprocessing": {"interpolation": "bilinear"}},
            "preprocessing.interpolation: bicubic in the store, bilinear",
        ),
        ({"dtype": "int8"}, "dtype: float32 in the store, int8 asked for"),
    ],
)
def test_another_identity_is_refused(full: Callable[..., str], change: dict[str, str], message: str) -> None:
    url = full()
    with (
        pytest.raises(IdentityError, match=message),
        open_writer(url, make_spec(identity=change), make_samples(), FROZEN),
    ):
        pass


def test_the_shard_size_is_fixed_for_life(full: Callable[..., str]) -> None:
    url = full()
    with (
        pytest.raises(IdentityError, match="shard_rows: 64 in the store, 128 asked for"),
        open_writer(url, make_spec(shard_rows=128), make_samples(), FROZEN),
    ):
        pass


@pytest.mark.parametrize("key", ["../x.png", "/etc/passwd", "a/../../b", "", "a\\b"])
def test_keys_may_not_leave_their_folder(url: str, key: str) -> None:
    samples = make_samples()
    samples[7] = type(samples[7])(key, 0, "train")
    with pytest.raises(UsageError, match="expected a relative name"), open_writer(url, make_spec(), samples, FROZEN):
        pass


def test_keys_are_unique(url: str) -> None:
    samples = make_samples()
    samples[7] = samples[8]
    with pytest.raises(UsageError, match=r"'x/8.png': occurs twice"), open_writer(url, make_spec(), samples, FROZEN):
        pass


def _hold(url: str, ready: object, done: object) -> None:
    with open_writer(url, make_spec(), make_samples(), FROZEN):
        ready.set()  # type: ignore[attr-defined]
        done.wait(60)  # type: ignore[attr-defined]


def test_a_second_writer_is_refused_until_the_first_is_gone(url: str) -> None:
    context = multiprocessing.get_context("fork")
    ready, done = context.Event(), context.Event()
    first = context.Process(target=_hold, args=(url, ready, done))
    first.start()
    assert ready.wait(60)
    with (
        pytest.raises(LockedError, match=f"process {first.pid} on .* is writing it"),
        open_writer(url, make_spec(), make_samples(), FROZEN),
    ):
        pass
    first.kill()
    first.join()
    with open_writer(url, make_spec(), make_samples(), FROZEN) as writer:
        assert len(writer.todo) == 4


def test_no_store_newer_store_foreign_group(tmp_path: Path, full: Callable[..., str]) -> None:
    with pytest.raises(IcecoreError, match="is not an icecore store"):
        open_store(str(tmp_path / "nothing"))
    root = Path(full()) / "zarr.json"
    root.write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    with pytest.raises(IcecoreError, match="a Zarr group that icecore did not write"):
        open_store(str(root.parent))


def test_a_root_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(IcecoreError, match=r"zarr.json cannot be read \((?i:file name too long)\)"):
        open_store(str(tmp_path / ("x" * 300)))
    (tmp_path / "s.ice" / "zarr.json").mkdir(parents=True)
    with pytest.raises(IcecoreError, match=r"s.ice: zarr.json cannot be read \(Is a directory\)"):
        open_store(str(tmp_path / "s.ice"))


def _shard(url: str, layer: int, shard: int) -> Path:
    return Path(url) / f"layers/{layer:02d}/values/c/0/{shard}/0/0"


def test_swapped_shards_are_noticed_by_reads_and_by_verify(full: Callable[..., str]) -> None:
    url = full()
    shutil.copy(_shard(url, 3, 1), _shard(url, 3, 0))
    with pytest.raises(IntegrityError, match="layers/03/values/c/0/0/0/0, chunk 0: does not match"):
        open_store(url).layer(3).rows(slice(0, 5))
    assert {(problem.layer, problem.rows) for problem in verify(url)} == {(3, (0, 64))}


def test_repair_takes_out_the_bad_shard_and_extract_redoes_it(
    full: Callable[..., str], tokens: dict[int, Tensor]
) -> None:
    url = full()
    damaged = bytearray(_shard(url, 0, 2).read_bytes())
    damaged[1000] ^= 4
    _shard(url, 0, 2).write_bytes(damaged)
    assert [(problem.layer, problem.rows) for problem in verify(url, repair=True)] == [(0, (128, 192))]
    assert open_store(url).num_missing == 64
    fill(url, tokens)
    assert verify(url) == []
    assert torch.equal(open_store(url).layer(0).rows(slice(None)), tokens[0])
