"""Repair strikes what is damaged and nothing else, and never beside a writer."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from icecore.store import IcecoreError, IntegrityError, LockedError, Problem, StoreSpec, open_store, open_writer, verify

from ..conftest import FROZEN, LAYER, NUM_ROWS, fill, make_samples, make_spec


def wanted(layers: tuple[int, ...] = (0, 3), views: int = 1, dtype: str = "float32") -> StoreSpec:
    spec = make_spec(dtype=dtype, identity={"layers": layers, "views": views})
    return spec.model_copy(update={"layers": dict.fromkeys(layers, LAYER)})


def flip(path: str | Path) -> None:
    data = bytearray(Path(path).read_bytes())
    data[len(data) // 2] ^= 1
    Path(path).write_bytes(data)


def shard(url: str, layer: int, view: int, number: int) -> Path:
    return Path(url, f"layers/{layer:02d}/values/c/{view}/{number}/0/0")


def contents(url: str, pattern: str = "**/*") -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path(url).glob(pattern) if path.is_file()}


def kinds(problems: list[Problem]) -> dict[str, int]:
    found = [problem.kind for problem in problems]
    return {kind: found.count(kind) for kind in found}


@pytest.mark.parametrize("more", [wanted((0, 3)), wanted((0,), views=2), wanted((0, 3), views=2)])
@pytest.mark.parametrize("num_shards", [0, 1])
def test_what_is_not_extracted_yet_is_told_and_not_struck(
    url: str, tokens: dict[int, Tensor], more: StoreSpec, num_shards: int
) -> None:
    fill(url, tokens, wanted((0,)))
    fill(url, tokens, more, num_shards=num_shards)
    before = contents(url)
    problems = verify(url, repair=True)
    assert contents(url) == before
    assert problems == verify(url)
    pairs = len(more.identity.layers) * more.identity.views - 1
    assert kinds(problems) == {"missing": pairs * (4 - num_shards)}
    assert torch.equal(open_store(url).layer(0).rows(slice(None)), tokens[0])


def test_rows_that_are_not_extracted_yet_are_told_and_not_struck(url: str, tokens: dict[int, Tensor]) -> None:
    fill(url, {layer: values[:150] for layer, values in tokens.items()}, make_spec(150))
    fill(url, tokens, num_shards=0)
    before = contents(url)
    assert [(problem.kind, problem.rows) for problem in verify(url, repair=True)] == [
        ("missing", (150, 192)),
        ("missing", (192, 203)),
    ]
    assert contents(url) == before


def test_a_damaged_layer_and_view_is_struck_and_the_others_of_its_shard_are_kept(
    url: str, tokens: dict[int, Tensor]
) -> None:
    spec = wanted(views=2)
    fill(url, tokens, spec)
    flip(shard(url, 3, 1, 2))
    problems = verify(url, repair=True)
    assert [(problem.kind, problem.layer, problem.rows) for problem in problems] == [("damage", 3, (128, 192))]
    assert torch.equal(open_store(url).layer(0).rows(slice(None), view=1), tokens[0])
    assert torch.equal(open_store(url).layer(3).rows(slice(None)), tokens[3])
    with open_writer(url, spec, make_samples(), FROZEN) as writer:
        assert [(one.index, one.lacking) for one in writer.todo] == [(2, ((3, 1),))]
    stamps = {path: path.stat().st_mtime_ns for path in Path(url).glob("layers/*/*/c/*/*/*/*")}
    fill(url, tokens, spec)
    changed = {path for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp}
    assert changed == {shard(url, 3, 1, 2)}
    assert verify(url) == []
    assert torch.equal(open_store(url).layer(3).rows(slice(None), view=1), tokens[3])


def test_damage_beside_what_is_missing_is_struck_alone(url: str, tokens: dict[int, Tensor]) -> None:
    fill(url, tokens, wanted((0, 3)))
    fill(url, tokens, wanted((0, 3), views=2), num_shards=0)
    flip(shard(url, 0, 0, 1))
    assert kinds(verify(url, repair=True)) == {"damage": 1, "missing": 8}
    assert int(open_store(url).coverage.covered(0, 0).sum()) == NUM_ROWS - 64
    assert int(open_store(url).coverage.covered(3, 0).sum()) == NUM_ROWS


def test_a_shard_that_is_damaged_throughout_leaves_the_ledger(url: str, tokens: dict[int, Tensor]) -> None:
    fill(url, tokens)
    for layer in (0, 3):
        flip(shard(url, layer, 0, 1))
    flip(Path(url, "ledger/000002.json"))
    verify(url, repair=True)
    assert sorted(path.stem for path in Path(url, "ledger").iterdir()) == ["000000", "000003"]
    fill(url, tokens)
    assert verify(url) == []


def test_failed_rows_stay_failed_when_a_layer_of_their_shard_is_redone(url: str, tokens: dict[int, Tensor]) -> None:
    fill(url, tokens, failed={70: "no image"})
    flip(shard(url, 3, 0, 1))
    verify(url, repair=True)
    fill(url, tokens, failed={70: "no image"})
    assert open_store(url).failed == {70: "no image"}
    assert verify(url) == []


def _hold(url: str, ready, done) -> None:
    with open_writer(url, wanted((0, 3)), make_samples(), FROZEN):
        ready.set()
        done.wait(60)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_repair_is_refused_beside_a_live_writer(url: str, tokens: dict[int, Tensor]) -> None:
    fill(url, tokens, wanted((0,)))
    flip(shard(url, 0, 0, 1))
    context = multiprocessing.get_context("fork")
    ready, done = context.Event(), context.Event()
    writer = context.Process(target=_hold, args=(url, ready, done))
    writer.start()
    assert ready.wait(60)
    before = contents(url, "ledger/*")
    with pytest.raises(LockedError, match=f"process {writer.pid} on .* is writing it; wait for it or stop it"):
        verify(url, repair=True)
    assert contents(url, "ledger/*") == before
    assert kinds(verify(url)) == {"damage": 1, "missing": 4}  # reading is free
    done.set()
    writer.join()
    verify(url, repair=True)
    assert len(list(Path(url, "ledger").iterdir())) == 3


def test_repair_is_refused_beside_a_live_writer_of_a_remote_store(tokens: dict[int, Tensor]) -> None:
    url = "memory://repair/s.ice"
    fill(url, tokens, num_shards=1)
    with (
        open_writer(url, make_spec(), make_samples(), FROZEN),
        pytest.raises(LockedError, match="is writing it; wait for it or stop it"),
    ):
        verify(url, repair=True)
    assert kinds(verify(url, repair=True)) == {"missing": 3}


def test_repair_of_no_store_leaves_the_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(IcecoreError, match="is not an icecore store"):
        verify(str(tmp_path), repair=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_lost_root_is_not_taken_for_a_new_store(full: Callable[..., str], tokens: dict[int, Tensor]) -> None:
    url = full()
    Path(url, "zarr.json").unlink()
    before = contents(url)
    with pytest.raises(IntegrityError, match=r"zarr.json is missing; run 'icecore verify --repair"):
        fill(url, tokens)
    assert contents(url) == before
    assert kinds(verify(url, repair=True)) == {"damage": 1}
    assert verify(url) == []
    assert torch.equal(open_store(url).layer(3).rows(slice(None)), tokens[3])


def test_a_first_write_that_was_killed_is_not_repaired_into_a_store(full: Callable[..., str]) -> None:
    url = Path(full())
    copy = (url / "icecore.json").read_bytes()
    for path in sorted(url.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (url / "icecore.json").write_bytes(copy)
    assert verify(str(url), repair=True)
    with pytest.raises(IcecoreError, match="is not an icecore store"):
        open_store(str(url))


def test_damaged_channel_scales_are_measured_again_and_never_replaced_by_others(
    url: str, tokens: dict[int, Tensor]
) -> None:
    spec = wanted(dtype="int4")
    fill(url, tokens, spec)
    exact = open_store(url).layer(3).rows(np.arange(9))
    flip(Path(url, "channel_scales.safetensors"))
    assert kinds(verify(url, repair=True)) == {"damage": 1}
    with pytest.raises(IntegrityError, match="differs from what the rows were written with; put the file back"):
        fill(url, {layer: values + 1 for layer, values in tokens.items()}, spec)
    fill(url, tokens, spec)
    assert verify(url) == []
    assert torch.equal(open_store(url).layer(3).rows(np.arange(9)), exact)
