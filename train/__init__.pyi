"""The names of `icecore.train`, by module; each is imported when it is first asked for."""

from .bundle import Bundle, load_bundle
from .current import is_current
from .progress import Progress
from .run import Run, open_run
from .score import LayerScore, score
from .select import select
from .selection import Figures, Selected, Selection, TableRow
from .settings import ScoreSettings, SelectSettings, TrainSettings
from .train import train

__all__ = [
    "Bundle",
    "Figures",
    "LayerScore",
    "Progress",
    "Run",
    "ScoreSettings",
    "SelectSettings",
    "Selected",
    "Selection",
    "TableRow",
    "TrainSettings",
    "is_current",
    "load_bundle",
    "open_run",
    "score",
    "select",
    "train",
]
