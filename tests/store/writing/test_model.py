"""Whatever happens to a store, in any order, it is what a plain dict of the rows that were written says it is."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from icecore.store import dataset_sha256, open_store, open_writer, verify

from ..conftest import CLASSES, FROZEN, LAYER, make_samples, make_spec

SHARD_ROWS = 16
MAX_ROWS = 90


class StoreModel(RuleBasedStateMachine):
    """The store against `self.rows`: the number that every (layer, row) was last written with, a new one each time.

    `self.ends` says where each shard that was finished ended then. Both follow from what the rules do alone.
    """

    @initialize(num_rows=st.integers(1, 50))
    def begin(self, num_rows: int) -> None:
        self.folder = tempfile.mkdtemp()
        self.url = f"{self.folder}/s.ice"
        self.num_rows = num_rows
        self.layers: tuple[int, ...] = (0,)
        self.rows: dict[tuple[int, int], float] = {}
        self.ends: dict[int, int] = {}
        self.num_writes = 0
        self.write(0, 0)

    def teardown(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def range_of(self, shard: int) -> range:
        return range(shard * SHARD_ROWS, min((shard + 1) * SHARD_ROWS, self.num_rows))

    def lacking(self) -> dict[int, tuple[int, ...]]:
        """The layers that each shard lacks; a shard that is to hold more rows is written anew."""
        found: dict[int, tuple[int, ...]] = {}
        for shard in range(-(-self.num_rows // SHARD_ROWS)):
            rows = self.range_of(shard)
            anew = self.ends.get(shard) != rows.stop
            found[shard] = tuple(k for k in self.layers if anew or any((k, row) not in self.rows for row in rows))
        return {shard: layers for shard, layers in found.items() if layers}

    def forget(self, shard: int, layers: Sequence[int]) -> None:
        for layer in layers:
            for row in range(shard * SHARD_ROWS, (shard + 1) * SHARD_ROWS):
                self.rows.pop((layer, row), None)

    def number(self, layer: int, row: int) -> float:
        return self.num_writes * 1000.0 + layer * 100 + row

    def tokens(self, rows: range) -> dict[int, torch.Tensor]:
        numbers = {layer: torch.tensor([self.number(layer, row) for row in rows]) for layer in self.layers}
        return {layer: each[:, None, None].expand(-1, 17, 24) for layer, each in numbers.items()}

    @rule(num_shards=st.integers(0, 3), kill_after=st.integers(0, 40))
    def write(self, num_shards: int, kill_after: int) -> None:
        """Finish some shards, then die within the next one, which stands as it was before."""
        self.num_writes += 1
        samples, expected = make_samples(self.num_rows), self.lacking()
        spec = make_spec(self.num_rows, shard_rows=SHARD_ROWS).model_copy(
            update={"layers": dict.fromkeys(self.layers, LAYER)}
        )
        identity = {"layers": self.layers, "dataset_sha256": dataset_sha256(samples, CLASSES)}
        spec = spec.model_copy(update={"identity": spec.identity.model_copy(update=identity)})
        with open_writer(self.url, spec, samples, FROZEN) as writer:
            todo = writer.todo
            assert {one.index: one.layers for one in todo} == expected
            assert [(one.start, one.stop) for one in todo] == [(r.start, r.stop) for r in map(self.range_of, expected)]
            for shard in todo[:num_shards]:
                rows = self.range_of(shard.index)
                with writer.shard(shard) as out:
                    out.append(rows, self.tokens(rows))
                for layer in expected[shard.index]:
                    self.rows |= {(layer, row): self.number(layer, row) for row in rows}
                self.ends[shard.index] = rows.stop
            for shard in todo[num_shards : num_shards + 1]:
                rows = self.range_of(shard.index)[:kill_after]
                with pytest.raises(KeyboardInterrupt), writer.shard(shard) as out:  # noqa: PT012
                    out.append(rows, self.tokens(rows))
                    raise KeyboardInterrupt

    @rule(more=st.integers(1, 20))
    def extend(self, more: int) -> None:
        self.num_rows = min(self.num_rows + more, MAX_ROWS)
        self.write(0, 0)

    @rule(layer=st.sampled_from([1, 2]))
    def add_layer(self, layer: int) -> None:
        self.layers = tuple(sorted({*self.layers, layer}))
        self.write(0, 0)

    @precondition(lambda self: self.rows)
    @rule(choice=st.randoms(use_true_random=False))
    def corrupt_and_repair(self, choice) -> None:
        """Flip a bit of one layer of one shard: repair takes out that layer of that shard, and no other row."""
        layer, row = choice.choice(sorted(self.rows))
        shard = row // SHARD_ROWS
        name = f"layers/{layer:02d}/values/c/0/{shard}/0/0"
        path = Path(self.url, name)
        data = bytearray(path.read_bytes())
        data[choice.randrange(len(data))] ^= 1 << choice.randrange(8)
        path.write_bytes(data)
        assert {problem.file for problem in verify(self.url, repair=True) if problem.kind == "damage"} == {name}
        self.forget(shard, (layer,))
        if not any(known // SHARD_ROWS == shard for _, known in self.rows):
            del self.ends[shard]

    @invariant()
    def the_store_is_what_the_dict_says(self) -> None:
        if not hasattr(self, "url"):
            return
        store = open_store(self.url)
        assert store.layers == self.layers
        assert store.num_rows == self.num_rows
        for layer in self.layers:
            rows = sorted(row for k, row in self.rows if k == layer)
            assert np.flatnonzero(store.coverage.covered(layer, 0)).tolist() == rows
            found = store.layer(layer).rows(np.array(rows, dtype=np.int64))
            exact = torch.tensor([self.rows[layer, row] for row in rows])
            assert torch.equal(found, exact[:, None, None].expand(-1, 17, 24))


TestStoreModel = pytest.mark.slow(StoreModel.TestCase)
TestStoreModel.settings = settings(
    max_examples=20,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
