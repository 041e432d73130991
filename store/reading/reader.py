"""Opening a store for reading.

PyTorch, which takes seconds to import, is imported by the methods that return tensors or read them alone.
"""

import functools
import math
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from jaxtyping import Float64, Int64
from pydantic import JsonValue

from ..documents.coverage import Coverage, by_reason
from ..documents.ledger import load_ledger
from ..documents.root import SAMPLES, Root, load_config, load_file, load_newest, load_root
from ..errors import IncompleteError, UsageError
from ..files.location import Location, open_location
from ..format.provenance import Provenance
from ..format.samples import Sample, from_parquet, to_samples
from ..format.spec import Identity, StoreSpec, layer_name

if TYPE_CHECKING:
    from torch import Tensor

    from ..documents.backbone_files import FrozenBackbone
    from .layer_reader import LayerReader

FEW_PARTS = 4  # of a frozen backbone that stay in memory: those of the layers that train side by side


class Store:
    """A store as its ledger says it is; made by `open_store`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._location = open_location(url)
        self._root, self.samples = load_newest(self._location, load_root(self._location), _load_samples)
        self.coverage = Coverage(url, self._root, load_ledger(self._location, self._root))
        self._parts: dict[tuple[str, ...], "FrozenBackbone"] = {}

    @property
    def spec(self) -> StoreSpec:
        """All that was known of the store before its first row."""
        return self._root.spec

    @property
    def identity(self) -> Identity:
        """What the numbers in the store depend on."""
        return self.spec.identity

    @property
    def provenance(self) -> tuple[Provenance, ...]:
        """Every extraction that had rows to write, the first one first; the last one is also in `spec`."""
        return self._root.history

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, by label."""
        return self.spec.classes

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that the store holds."""
        return self.identity.layers

    @property
    def num_rows(self) -> int:
        """How many rows the data set has, failed and missing ones included."""
        return self._root.num_rows

    @property
    def shard_rows(self) -> int:
        """How many rows a full shard has."""
        return self._root.shard_rows

    @property
    def failed(self) -> dict[int, str]:
        """The rows that have no tokens, with the cause."""
        return self.coverage.failed

    @property
    def failures(self) -> dict[str, int]:
        """How many rows failed for what reason; numbers within a reason read N."""
        return by_reason(self.failed.values())

    @property
    def num_missing(self) -> int:
        """How many rows are not in the store yet."""
        return int((~self.coverage.complete()).sum())

    def require_complete(self) -> None:
        """Raise IncompleteError, with the command that resumes, if rows are missing."""
        if self.num_missing:
            raise IncompleteError(
                f"{self.url}: {self.num_missing} of {self.num_rows} rows are missing; "
                f"finish it with: {self.spec.command}"
            )

    @functools.cached_property
    def _channel_scales(self) -> "dict[int, Tensor]":
        from ..documents.channel_scales import load_channel_scales

        return load_newest(self._location, self._root, load_channel_scales)

    def as_samples(self) -> list[Sample]:
        """Return every row of the table as the sample that it was made of."""
        return to_samples(self.samples)

    @functools.cached_property
    def labels(self) -> Int64[np.ndarray, " row"]:
        """The label of every row, -1 where there is none."""
        return np.array(self.samples["label"].fill_null(-1))

    @functools.cached_property
    def targets(self) -> Float64[np.ndarray, "row outputs"]:
        """What every row has for each class or output, NaN where there is nothing; for targets other than one class."""
        nothing = [math.nan] * len(self.classes)
        given = self.samples["target"].to_pylist() if "target" in self.samples.column_names else [None] * self.num_rows
        return np.array([nothing if target is None else target for target in given], np.float64)

    @property
    def splits(self) -> dict[str, int]:
        """How many good rows each split has."""
        return {str(name): len(self.rows(str(name))) for name in np.unique(self._split_of_rows)}

    def rows(self, split: str) -> Int64[np.ndarray, " row"]:
        """Return the rows of a split that can be read, in row order."""
        return np.flatnonzero((self._split_of_rows == split) & self.coverage.good())

    @functools.cached_property
    def _split_of_rows(self) -> np.ndarray:
        return np.array(self.samples["split"].to_pylist())  # by Python: pyarrow's way to numpy imports pandas

    def layer(self, layer: int) -> "LayerReader":
        """Return the reader of one layer."""
        from .layer_reader import LayerReader

        if layer not in self.layers:
            there = ", ".join(map(layer_name, self.layers))
            raise UsageError(
                f"layer {layer_name(layer)}: not in {self.url}, which has {there}; extract it with --layers"
            )
        return LayerReader(self._location, self._root, self.coverage, layer, self._channel_scales.get(layer))

    def backbone_config(self) -> dict[str, JsonValue]:
        """Return the facts about the blocks of the backbone, without their tensors."""
        return load_newest(self._location, self._root, load_config)

    def frozen(self) -> "FrozenBackbone":
        """Return the frozen blocks and final norm of the backbone."""
        from ..documents.backbone_files import load_frozen

        return load_newest(self._location, self._root, load_frozen)

    def frozen_parts(self, prefixes: tuple[str, ...]) -> "FrozenBackbone":
        """Return the frozen tensors whose names begin with one of the prefixes; what was read last is at hand."""
        from ..documents.backbone_files import FrozenBackbone

        found = self._parts.get(prefixes)
        if found is None:
            tensors = self.frozen().tensors if prefixes else {}
            wanted = {name: tensor for name, tensor in tensors.items() if name.startswith(prefixes)}
            found = FrozenBackbone(self.backbone_config(), wanted)
            self._parts = dict([*list(self._parts.items())[1 - FEW_PARTS :], (prefixes, found)])
        return found

    def num_bytes(self) -> int:
        """Return the bytes of all files of the store."""
        return sum(self._location.sizes().values())


def _load_samples(location: Location, root: Root) -> tuple[Root, pa.Table]:
    return root, from_parquet(load_file(location, root, SAMPLES), f"{location.url}: {SAMPLES}")


def require_store(url: str) -> None:
    """Raise IcecoreError where there is no store that this version reads, without reading its rows."""
    load_root(open_location(url))


def open_store(url: str) -> Store:
    """Open a store at a path or fsspec URL, complete or not; IcecoreError says what is wrong with what is there."""
    return Store(url)
