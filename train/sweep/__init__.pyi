"""The public names of `icecore.train.sweep`, by module; each is imported when it is first asked for."""

from .checkpoint import Clock
from .optimizer import rate
from .predict import load_stack

__all__ = [
    "Clock",
    "rate",
    "load_stack",
]
