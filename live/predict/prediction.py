"""One answer for one image."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prediction:
    """The most probable class of an image; or, where the image could not be read, only the `error`.

    Where the target is not one class, `outputs` holds the probability of every class, or every number, by name, and
    label and probability are None. `bundle` says who answers, where several were asked.
    """

    key: str
    label: str | None
    probability: float | None
    error: str | None = None
    outputs: Mapping[str, float] | None = None
    bundle: str | None = None
