"""The settings of stage two; every comma list is one axis of the grid that a sweep trains.

Knows nothing of stores or adapters: a family takes from the grid the axes that its configuration has.
"""

import math
import re
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, JsonValue, field_validator

from icecore.store import ComputeDtype, Frozen, UsageError

UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}  # powers of a thousand, or of 1024


class Settings(Frozen):
    """Settings of a stage, whose comma lists say one thing or more, and each once."""

    @field_validator("*")
    @classmethod
    def _say_each_once(cls, values: Any) -> Any:
        for several in values.values() if isinstance(values, dict) else [values]:  # of one family, by name
            for each in several.values() if isinstance(several, dict) else [several]:
                if isinstance(each, tuple | list):
                    _require_distinct(each)
        return values


def _require_distinct(values: Sequence[object]) -> None:
    if not values:
        raise ValueError("expected one value or more")
    if twice := [value for place, value in enumerate(values) if value in values[:place]]:
        raise ValueError(f"{twice[0]!r} is there twice; name each once")


class TrainSettings(Settings):
    """One sweep: families x layers x family options x learning rates x weight decays x seeds.

    `workers` are processes of this machine, `scheduler` is the address of a dask cluster; without either, threads
    of this process train. `memory` is then what each worker may take.

    With `folds`, every adapter is trained once per cross-validation fold and once more on all rows, instead of on the
    rows that `validation` leaves; `halving` then decides by the first fold which adapters are trained further.

    `options` holds axes for one family alone, by the names of its configuration and of the recipe:
    `{"inca": {"num_queries": [1, 4]}, "linear": {"lr": [0.01]}}`. They replace the axes given for all families. An
    axis that is None is each family's own: `Adapter.default_grid`, or what its configuration starts with.
    """

    adapters: tuple[str, ...] = ("linear", "inca")
    layers: str = "all"
    lr: tuple[float, ...] | None = None
    weight_decay: tuple[float, ...] | None = None
    queries: tuple[int, ...] | None = None
    heads: tuple[int, ...] | None = None
    pooling: tuple[str, ...] | None = None
    options: dict[str, dict[str, list[JsonValue]]] = Field(default_factory=dict)
    epochs: int = Field(default=60, ge=1)
    label_smoothing: tuple[float, ...] = (0.0,)
    dropout: tuple[float, ...] = (0.0,)
    class_weights: tuple[Literal["none", "balanced"], ...] = ("none",)
    batch_size: int = Field(default=64, ge=1)
    clip: float | None = None
    halving: bool = False
    seeds: int = Field(default=1, ge=1)
    validation: float = Field(default=0.2, gt=0, lt=1)
    folds: int | None = Field(default=None, ge=2)
    shuffle_seed: int = Field(default=0, ge=0, lt=2**32)
    device: str = "auto"
    compute_dtype: ComputeDtype = "auto"
    memory: str = "4GB"
    workers: int = Field(default=0, ge=0)
    scheduler: str | None = None
    extend: str | None = None
    classes: Literal["all", "new"] = "all"
    checkpoint_seconds: float = Field(default=60.0, ge=0)

    @field_validator("lr", "weight_decay")
    @classmethod
    def _are_rates(cls, values: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if values is not None and not (values and all(math.isfinite(value) and value >= 0 for value in values)):
            raise ValueError(f"{list(values)}: expected one or more finite numbers that are not negative")
        return values

    @property
    def memory_bytes(self) -> int:
        """How many bytes the whole process may take, what any process of this library takes aside (under 1 GB)."""
        return parse_bytes(self.memory)


class SelectSettings(Settings):
    """How to select among the trained adapters, and how to compute the intervals of the figures.

    `one_standard_error` applies to the selector `best`; `top`, the maximum ensemble size, to `average`. `max_layer` and
    `max_cost` (a share of the whole backbone's multiply-adds) limit the choice of every selector.
    """

    selector: str = "bagged"
    one_standard_error: bool = False
    top: int = Field(default=20, ge=1)
    max_layer: int | None = Field(default=None, ge=0)
    max_cost: float | None = Field(default=None, gt=0, le=1)
    confidence: float = Field(default=0.95, gt=0, lt=1)
    num_resamples: int = Field(default=2000, ge=100)
    seed: int = Field(default=0, ge=0, lt=2**32)
    device: str = "auto"


class ScoreSettings(Settings):
    """Which training-free scores, of which pooled vectors; without `pooling` all that the store has, side by side.

    `norm` is `final` for tokens under the backbone's final norm, whose gamma and beta drop out as the vectors are
    standardised, and `none` for tokens as they are.
    """

    scores: tuple[str, ...] = ("ridge",)
    pooling: tuple[Literal["cls", "mean", "cls+mean"], ...] | None = None
    norm: Literal["final", "none"] = "final"


def parse_bytes(text: str) -> int:
    """Read `4GB`, `500M` or `123456`, powers of ten, and `4GiB`, powers of two; UsageError for anything else."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(?:([kmgt]?)b?|([kmgt])ib?)\s*", text.lower())
    if match is None:
        raise UsageError(f"memory {text!r}: expected a size such as 4GB (10^9 bytes each) or 4GiB (2^30 bytes each)")
    decimal, binary = match[2], match[3]
    return int(float(match[1]) * (1024 ** UNITS[binary] if binary else 1000 ** UNITS[decimal or ""]))
