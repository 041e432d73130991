"""The prediction of one bundle for one image."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prediction:
    """The most probable class of an image with its probability; or `error` alone, where the image could not be read.

    For a multilabel or regression target, `outputs` holds the probability of every class, or every number, by name, and
    `label` and `probability` are None. `bundle` is the predicting bundle where several predict, else None.

    >>> Prediction("cat.jpg", "cat", 0.97).label
    'cat'
    """

    key: str
    label: str | None
    probability: float | None
    error: str | None = None
    outputs: Mapping[str, float] | None = None
    bundle: str | None = None
