"""One adapter that a sweep trains: everything its result depends on, and the digest that names it.

Knows nothing of what else is in the sweep, so neither name nor initialisation can depend on it.
"""

import hashlib
import json
from collections.abc import Iterable
from functools import cached_property
from typing import Literal

from pydantic import Field, JsonValue

from icecore.store import Frozen


class Recipe(Frozen):
    """How one adapter is optimised; `clip` bounds the norm of its own gradient, `dropout` is before its classifier."""

    lr: float
    weight_decay: float
    epochs: int
    batch_size: int
    clip: float | None = None
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    class_weights: Literal["none", "balanced"] = "none"
    seed: int = 0


class Candidate(Frozen):
    """A family, the layers it reads, its configuration and its recipe."""

    adapter: str
    layers: tuple[int, ...]
    config: dict[str, JsonValue]
    recipe: Recipe

    @cached_property
    def _digest(self) -> str:
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def adapter_id(self) -> str:
        """The name of this adapter in every table and file of a run."""
        return self._digest[:16]

    @property
    def init_seed(self) -> int:
        """The seed of its initial parameters."""
        return int(self._digest[16:31], 16)

    @property
    def layer(self) -> int:
        """The deepest layer that it reads."""
        return max(self.layers)


def alike(candidates: Iterable[Candidate]) -> list[list[Candidate]]:
    """Part candidates that read the same layers into those that fit one stack."""
    shapes: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        shapes.setdefault(f"{candidate.adapter} {sorted(candidate.config.items())}", []).append(candidate)
    return list(shapes.values())
