"""The one adapter of highest validation score; ties go to the lower loss, then to the shallower layer."""

from ..run import Kept
from ..settings import SelectSettings


def best(kept: Kept, settings: SelectSettings) -> dict[str, float]:
    """Return the winner, alone."""
    ranks: list[tuple[float, float, int, str]] = []
    for candidate, table in zip(kept.candidates, kept.predictions, strict=True):
        scores = kept.target.score(table, kept.labels)
        ranks.append((-scores.score, scores.loss, candidate.layer, candidate.adapter_id))
    return {min(ranks)[-1]: 1.0}
