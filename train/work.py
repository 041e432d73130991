"""What all groups that train on the same rows share."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from icecore.store import Store

from .group import Group
from .inputs import Inputs
from .ledger import Ledger
from .settings import TrainSettings
from .split import Split
from .target import Target


@dataclass(frozen=True)
class Work:
    """The rows, the machine and the limits."""

    store: Store
    settings: TrainSettings
    inputs: Inputs
    split: Split
    target: Target
    device: torch.device
    dtype: torch.dtype
    num_workers: int
    memory_bytes: int  # that one group may take
    group: Callable[..., Group] = Group  # makes one
    sizes: dict[tuple[str, tuple[int, ...], str], int] = field(default_factory=dict)  # of adapters, in numbers

    @property
    def compute_dtype(self) -> str:
        """The name of the type that products are in."""
        return str(self.dtype).removeprefix("torch.")

    @cached_property
    def conditions(self) -> dict[str, Any]:
        """What every result depends on beside its candidate and what is used of the store."""
        return {
            "validation_sha256": self.split.rows_sha256,
            "num_train_rows": len(self.split.train),
            "train_sha256": hashlib.sha256(self.split.train.astype("<i8").tobytes()).hexdigest(),
            "classes_sha256": hashlib.sha256(
                "\0".join(self.store.classes).encode("utf-8", "surrogateescape")
            ).hexdigest(),
            "shard_rows": self.store.shard_rows,  # the order of the rows
            "shuffle_seed": self.settings.shuffle_seed,
            "compute_dtype": self.compute_dtype,
        }

    def ledger(self, run: str) -> Ledger:
        """Return the ledger of a RUN, under these conditions."""
        return Ledger(run, self.inputs, self.conditions, self.settings.halving)
