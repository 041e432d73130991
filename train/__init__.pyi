"""The names of `icecore.train`, by module; each is imported when it is first asked for."""

from .bundle import Bundle, load_bundle
from .chosen import Chosen, read_chosen, trained_since
from .current import is_choice_current, is_current
from .progress import Progress
from .run import Run, open_run
from .score import LayerScore, score
from .select import select
from .selection import Figures, Selected, Selection, TableRow
from .settings import ScoreSettings, SelectSettings, TrainSettings
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
