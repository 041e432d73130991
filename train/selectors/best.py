"""The one adapter of highest validation accuracy; ties go to the lower loss, then to the shallower layer."""

from ..run import Kept
from ..settings import SelectSettings
from ..target import score


def best(kept: Kept, settings: SelectSettings) -> dict[str, float]:
    """Return the winner, alone."""
    ranks: list[tuple[float, float, int, str]] = []
    for candidate, table in zip(kept.candidates, kept.probabilities, strict=True):
        scores = score(table, kept.labels)
        ranks.append((-scores.top1, scores.mean_nll, candidate.layer, candidate.adapter_id))
    return {min(ranks)[-1]: 1.0}
