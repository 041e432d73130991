"""One adapter that a sweep trains: everything that its result depends on, and the digest that names it.

A candidate does not know the rest of the sweep, so neither its name nor its initialisation depends on other adapters.
"""

import hashlib
import json
from collections.abc import Iterable
from functools import cached_property
from typing import Literal

from pydantic import Field, JsonValue

from icecore.store import Frozen


class Recipe(Frozen):
    """How one adapter is optimised.

    `clip` bounds the gradient norm of this adapter alone; `dropout` is the rate before its classifier.
    """

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
    """An adapter family, the layers that the adapter reads, its configuration and its recipe."""

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
        """The seed of the adapter's initial parameters, from the same digest as `adapter_id`."""
        return int(self._digest[16:31], 16)

    @property
    def layer(self) -> int:
        """The deepest layer that the adapter reads."""
        return max(self.layers)


def alike(candidates: Iterable[Candidate]) -> list[list[Candidate]]:
    """Group candidates that read the same layers into stacks: lists of equal family and configuration."""
    shapes: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        shapes.setdefault(f"{candidate.adapter} {sorted(candidate.config.items())}", []).append(candidate)
    return list(shapes.values())
