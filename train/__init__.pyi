"""The names of `icecore.train`, by module; each is imported when it is first asked for."""

from .runs.run import Run, open_run
from .scores.score import LayerScore, score
from .selection.bundle import Bundle, load_bundle
from .selection.chosen import Chosen, read_chosen, trained_since
from .selection.current import is_choice_current, is_current
from .selection.select import select
from .selection.selection import Figures, Selected, Selection, TableRow
from .settings import ScoreSettings, SelectSettings, TrainSettings
from .sweep.progress import Progress
from .train import train

__all__ = [
    "Bundle",
    "Chosen",
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
    "is_choice_current",
    "is_current",
    "load_bundle",
    "open_run",
    "read_chosen",
    "score",
    "select",
    "train",
    "trained_since",
]
