"""Settings of the commands that train inside the backbone. Knows no method's own options."""

import itertools
import math

from pydantic import Field, JsonValue, field_validator

from icecore.extract import SourceSettings
from icecore.store import ComputeDtype
from icecore.train.runs import Recipe

from .weight_location import SUBMODULES


class StudySettings(SourceSettings):
    """How each candidate is trained, and on which rows.

    `backbone` and the fields of SourceSettings apply to a source; a store has its own. `lr` None means each method's
    own learning rates.
    """

    backbone: str | None = None
    checkpoint: str | None = None
    lr: tuple[float, ...] | None = None
    weight_decay: float = Field(default=0.05, ge=0)
    epochs: int = Field(default=15, ge=1)
    batch_size: int = Field(default=32, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**32)
    validation: float = Field(default=0.2, gt=0, lt=1)
    shuffle_seed: int = Field(default=0, ge=0, lt=2**32)
    device: str = "auto"
    compute_dtype: ComputeDtype = "auto"
    checkpoint_seconds: float = Field(default=60.0, ge=0)

    @field_validator("lr")
    @classmethod
    def _are_rates(cls, values: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if values is not None and not (values and all(math.isfinite(value) and value > 0 for value in values)):
            raise ValueError(f"{list(values)}: expected one or more positive numbers")
        return values

    def recipe(self, lr: float, seed: int) -> Recipe:
        """Return the training recipe of a candidate with the given learning rate and seed."""
        same = {"weight_decay": self.weight_decay, "epochs": self.epochs, "batch_size": self.batch_size}
        return Recipe.model_validate({"lr": lr, "seed": seed, **same})


class CompareSettings(StudySettings):
    """The methods to compare; `options` configures methods by name: `{"lora": {"rank": 8}}`."""

    methods: tuple[str, ...] = ("full", "linear", "lora", "kadaptation")
    options: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)


class IntrinsicSettings(StudySettings):
    """The submodules to measure, the subspace dimensions to try (increasing), and the number of seeds of each."""

    modules: tuple[str, ...] = tuple(SUBMODULES)
    dimensions: tuple[int, ...] = (4, 16, 64, 256, 1024)
    seeds: int = Field(default=1, ge=1)

    @field_validator("dimensions")
    @classmethod
    def _grow(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if not values or values[0] < 1 or any(one >= other for one, other in itertools.pairwise(values)):
            raise ValueError(f"{list(values)}: expected whole numbers from 1 that grow")
        return values
