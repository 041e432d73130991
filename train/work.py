"""What all groups that train on the same rows share."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from icecore.store import Store

from .group import Group
from .ledger import Ledger
from .settings import TrainSettings
from .split import Split
from .target import Target


@dataclass(frozen=True)
class Work:
    """The rows, the machine and the limits."""

    store: Store
    settings: TrainSettings
    split: Split
    target: Target
    device: torch.device
    dtype: torch.dtype
    num_workers: int
    memory_bytes: int  # that one group may take
    group: Callable[..., Group] = Group  # makes one

    def ledger(self, run: str) -> Ledger:
        """Return the ledger of a RUN, under what every result depends on beside its candidate and the store."""
        conditions = {
            "validation_sha256": self.split.rows_sha256,
            "num_train_rows": len(self.split.train),
            "shuffle_seed": self.settings.shuffle_seed,
            "compute_dtype": str(self.dtype).removeprefix("torch."),
        }
        return Ledger(run, conditions, self.settings.halving)
