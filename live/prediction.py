"""One answer for one image."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prediction:
    """The most probable class of an image; or, where the image could not be read, only the `error`."""

    key: str
    label: str | None
    probability: float | None
    error: str | None = None
