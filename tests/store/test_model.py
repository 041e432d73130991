"""Whatever happens to a store, in any order, it is what a plain dict of the finished shards says it is."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from icecore.store import dataset_sha256, open_store, open_writer, verify

from .conftest import CLASSES, FROZEN, LAYER, make_samples, make_spec

SHARD_ROWS = 16
MAX_ROWS = 90
TOKENS = {layer: torch.randn(MAX_ROWS, 17, 24, generator=torch.Generator().manual_seed(layer)) for layer in (0, 1, 2)}


class StoreModel(RuleBasedStateMachine):
    """The writer against `self.covered`, a dict from (layer, shard) to the rows that are finished."""

    @initialize(num_rows=st.integers(1, 50))
    def begin(self, num_rows: int) -> None:
        self.folder = tempfile.mkdtemp()
        self.url = f"{self.folder}/s.ice"
        self.num_rows = num_rows
        self.layers: tuple[int, ...] = (0,)
        self.covered: dict[tuple[int, int], range] = {}
        self.damaged: set[int] = set()
        self.write(0, 0)

    def teardown(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @rule(num_shards=st.integers(0, 3), kill_after=st.integers(0, 40))
    def write(self, num_shards: int, kill_after: int) -> None:
        """Finish some shards, then die within the next one."""
        samples = make_samples(self.num_rows)
        spec = make_spec(self.num_rows, shard_rows=SHARD_ROWS).model_copy(
            update={"layers": dict.fromkeys(self.layers, LAYER)}
        )
        identity = {"layers": self.layers, "dataset_sha256": dataset_sha256(samples, CLASSES)}
        spec = spec.model_copy(update={"identity": spec.identity.model_copy(update=identity)})
        with open_writer(self.url, spec, samples, FROZEN) as writer:
            todo = writer.todo
            for shard in todo[:num_shards]:
                with writer.shard(shard) as out:
                    out.append(range(shard.start, shard.stop), self.tokens(shard.start, shard.stop))
                for layer, _ in shard.lacking:
                    self.covered[layer, shard.index] = range(shard.start, shard.stop)
                self.damaged.discard(shard.index)
            for shard in todo[num_shards : num_shards + 1]:
                stop = min(shard.stop, shard.start + kill_after)
                with pytest.raises(KeyboardInterrupt), writer.shard(shard) as out:  # noqa: PT012
                    out.append(range(shard.start, stop), self.tokens(shard.start, stop))
                    raise KeyboardInterrupt
                self.forget_a_grown_shard(shard.index, shard.stop)

    def forget_a_grown_shard(self, index: int, stop: int) -> None:
        for layer in (0, 1, 2):
            if (layer, index) in self.covered and self.covered[layer, index].stop != stop:
                del self.covered[layer, index]

    def tokens(self, start: int, stop: int) -> dict[int, torch.Tensor]:
        return {layer: TOKENS[layer][start:stop] for layer in TOKENS}

    @rule(more=st.integers(1, 20))
    def extend(self, more: int) -> None:
        self.num_rows = min(self.num_rows + more, MAX_ROWS)
        self.write(0, 0)

    @rule(layer=st.sampled_from([1, 2]))
    def add_layer(self, layer: int) -> None:
        self.layers = tuple(sorted({*self.layers, layer}))
        self.write(0, 0)

    @precondition(lambda self: self.covered)
    @rule(choice=st.randoms(use_true_random=False))
    def corrupt_and_repair(self, choice) -> None:
        layer, shard = choice.choice(sorted(self.covered))
        path = Path(f"{self.url}/layers/{layer:02d}/values/c/0/{shard}/0/0")
        data = bytearray(path.read_bytes())
        data[choice.randrange(len(data))] ^= 1 << choice.randrange(8)
        path.write_bytes(data)
        assert any(
            problem.file.endswith(f"{layer:02d}/values/c/0/{shard}/0/0") for problem in verify(self.url, repair=True)
        )
        bad = {int(problem.file[7:13]) for problem in verify(self.url) if problem.file.startswith("ledger/")}
        assert shard in bad
        self.covered = {key: rows for key, rows in self.covered.items() if key[1] not in bad}

    @invariant()
    def the_store_is_what_the_dict_says(self) -> None:
        if not hasattr(self, "url"):
            return
        store = open_store(self.url)
        assert store.layers == self.layers
        assert store.num_rows == self.num_rows
        for layer in self.layers:
            rows = sorted(row for (k, _), rows in self.covered.items() if k == layer for row in rows)
            assert np.flatnonzero(store.coverage.covered(layer, 0)).tolist() == rows
            assert torch.equal(store.layer(layer).rows(np.array(rows, dtype=np.int64)), TOKENS[layer][rows])


TestStoreModel = pytest.mark.slow(StoreModel.TestCase)
TestStoreModel.settings = settings(
    max_examples=25,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
