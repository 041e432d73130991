"""The public names of `icecore.extract.job`, by module; each is imported when it is first asked for."""

from .ahead import map_ahead
from .job import Job

__all__ = [
    "Job",
    "map_ahead",
]
