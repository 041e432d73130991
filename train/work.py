"""What all groups of a sweep share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from icecore.store import Store

from .group import Group
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


def conditions(split: Split, settings: TrainSettings, dtype: torch.dtype) -> dict[str, Any]:
    """Return what every result depends on beside its candidate and the store."""
    return {
        "validation_sha256": split.rows_sha256,
        "num_train_rows": len(split.train),
        "shuffle_seed": settings.shuffle_seed,
        "compute_dtype": str(dtype).removeprefix("torch."),
    }
