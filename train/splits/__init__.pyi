"""The public names of `icecore.train.splits`, by module; each is imported when it is first asked for."""

from .split import Split, groups_of, hold_out

__all__ = [
    "Split",
    "groups_of",
    "hold_out",
]
