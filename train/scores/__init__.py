"""Training-free scores of layers: each says from pooled vectors alone how well a layer tells the classes apart.

One file each, one line each in the table.
"""

from collections.abc import Callable

from icecore.store import choose

from .cka import cka
from .features import Features
from .fisher import fisher
from .gbc import gbc
from .h_score import h_score
from .knn import knn
from .logme import logme
from .nleep import nleep
from .ridge import ridge

Score = Callable[[Features], float]  # higher is better; finite, also where the vectors are all the same

SCORES: dict[str, Score] = {
    "ridge": ridge,
    "knn": knn,
    "logme": logme,
    "h_score": h_score,
    "nleep": nleep,
    "cka": cka,
    "fisher": fisher,
    "gbc": gbc,
}


def get_score(name: str) -> Score:
    """Return a score by name; UsageError lists the choices."""
    return choose(SCORES, name, "score")


__all__ = ["SCORES", "Score", "get_score"]
