"""Opening a store for reading.

PyTorch takes seconds to import; only the methods that read tensors import it.
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

FEW_PARTS = 4  # selections of frozen tensors kept in memory: those of the layers that train side by side


class Store:
    """A store open for reading, with the rows that its ledger lists; made by `open_store`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._location = open_location(url)
        self._root, self.samples = load_newest(self._location, load_root(self._location), _load_samples)
        self.coverage = Coverage(url, self._root, load_ledger(self._location, self._root))
        self._parts: dict[tuple[str, ...], "FrozenBackbone"] = {}

    @property
    def spec(self) -> StoreSpec:
        """The specification of the store: identity, shapes of layers, classes, source."""
        return self._root.spec

    @property
    def identity(self) -> Identity:
        """Every choice that the stored numbers depend on."""
        return self.spec.identity

    @property
    def provenance(self) -> tuple[Provenance, ...]:
        """The record of every extraction that wrote rows, oldest first; the last is also in `spec`."""
        return self._root.history

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, by label."""
        return self.spec.classes

    @property
    def layers(self) -> tuple[int, ...]:
        """The numbers of the stored layers, ascending; 0 is the embedding before the first block."""
        return self.identity.layers

    @property
    def num_rows(self) -> int:
        """The number of rows in the data set, failed and missing rows included."""
        return self._root.num_rows

    @property
    def shard_rows(self) -> int:
        """The number of rows in a full shard."""
        return self._root.shard_rows

    @property
    def failed(self) -> dict[int, str]:
        """The cause for every row that could not be extracted."""
        return self.coverage.failed

    @property
    def failures(self) -> dict[str, int]:
        """The number of failed rows for each reason, in which numbers are replaced by N."""
        return by_reason(self.failed.values())

    @property
    def num_missing(self) -> int:
        """The number of rows that are not extracted yet."""
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
        """Return the rows of the table as samples."""
        return to_samples(self.samples)

    @functools.cached_property
    def labels(self) -> Int64[np.ndarray, " row"]:
        """The label of every row, -1 where there is none."""
        return np.array(self.samples["label"].fill_null(-1))

    @functools.cached_property
    def targets(self) -> Float64[np.ndarray, "row outputs"]:
        """The multi-label or regression target of every row, NaN where it is unknown."""
        nothing = [math.nan] * len(self.classes)
        given = self.samples["target"].to_pylist() if "target" in self.samples.column_names else [None] * self.num_rows
        return np.array([nothing if target is None else target for target in given], np.float64)

    @property
    def splits(self) -> dict[str, int]:
        """The number of readable rows in each split."""
        return {str(name): len(self.rows(str(name))) for name in np.unique(self._split_of_rows)}

    def rows(self, split: str) -> Int64[np.ndarray, " row"]:
        """Return the rows of a split that are complete and did not fail, ascending."""
        return np.flatnonzero((self._split_of_rows == split) & self.coverage.good())

    @functools.cached_property
    def _split_of_rows(self) -> np.ndarray:
        return np.array(self.samples["split"].to_pylist())  # by Python: pyarrow's way to numpy imports pandas

    def layer(self, layer: int) -> "LayerReader":
        """Return the reader of one layer; UsageError if the store does not hold the layer."""
        from .layer_reader import LayerReader

        if layer not in self.layers:
            there = ", ".join(map(layer_name, self.layers))
            raise UsageError(
                f"layer {layer_name(layer)}: not in {self.url}, which has {there}; extract it with --layers"
            )
        return LayerReader(self._location, self._root, self.coverage, layer, self._channel_scales.get(layer))

    def backbone_config(self) -> dict[str, JsonValue]:
        """Return the configuration of the backbone, without its tensors."""
        return load_newest(self._location, self._root, load_config)

    def frozen(self) -> "FrozenBackbone":
        """Return the frozen blocks and final norm of the backbone."""
        from ..documents.backbone_files import load_frozen

        return load_newest(self._location, self._root, load_frozen)

    def frozen_parts(self, prefixes: tuple[str, ...]) -> "FrozenBackbone":
        """Return the frozen tensors whose names begin with one of the prefixes; the last few results are cached."""
        from ..documents.backbone_files import FrozenBackbone

        selection = self._parts.get(prefixes)
        if selection is None:
            tensors = self.frozen().tensors if prefixes else {}
            wanted = {name: tensor for name, tensor in tensors.items() if name.startswith(prefixes)}
            selection = FrozenBackbone(self.backbone_config(), wanted)
            self._parts = dict([*list(self._parts.items())[1 - FEW_PARTS :], (prefixes, selection)])
        return selection

    def num_bytes(self) -> int:
        """Return the size of all files of the store in bytes."""
        return sum(self._location.sizes().values())


def _load_samples(location: Location, root: Root) -> tuple[Root, pa.Table]:
    return root, from_parquet(load_file(location, root, SAMPLES), f"{location.url}: {SAMPLES}")


def require_store(url: str) -> None:
    """Raise IcecoreError unless there is a store that this version reads; only the root document is read."""
    load_root(open_location(url))


def open_store(url: str) -> Store:
    """Open a store at a path or fsspec URL, complete or not.

    Raises:
        IcecoreError: there is no store, or a newer version wrote it.
        IntegrityError: a document of the store is damaged.
    """
    return Store(url)
