"""What a user may ask of a comparison with in-backbone methods. Knows no method's own options."""

import math
from typing import Literal

from pydantic import Field, JsonValue, field_validator

from icecore.store import Frozen


class CompareSettings(Frozen):
    """The methods, how each is trained, and on which rows; learning rates are chosen on validation.

    `backbone`, `checkpoint`, `img_size`, `crop_pct` and `limit` are for a source; a store knows its own. `lr` that is
    None is each method's own. `options` holds the configuration of one method alone: `{"lora": {"rank": 8}}`.
    """

    methods: tuple[str, ...] = ("full", "linear", "lora", "kadaptation")
    backbone: str | None = None
    checkpoint: str | None = None
    img_size: int | None = Field(default=None, ge=1)
    crop_pct: float | None = Field(default=None, gt=0, le=1)
    limit: int | None = Field(default=None, ge=1)
    lr: tuple[float, ...] | None = None
    weight_decay: float = Field(default=0.05, ge=0)
    epochs: int = Field(default=15, ge=1)
    batch_size: int = Field(default=32, ge=1)
    seed: int = 0
    options: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    validation: float = Field(default=0.2, gt=0, lt=1)
    shuffle_seed: int = 0
    device: str = "auto"
    compute_dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    checkpoint_seconds: float = Field(default=60.0, ge=0)

    @field_validator("lr")
    @classmethod
    def _are_rates(cls, values: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if values is not None and not (values and all(math.isfinite(value) and value > 0 for value in values)):
            raise ValueError(f"{list(values)}: expected one or more positive numbers")
        return values
