"""The plain mean of the k adapters of lowest validation loss; k by cross-fitting.

For every fold of the validation rows the adapters are ranked on the other folds and the mean of the first k is
measured on it; the k of the lowest loss over all folds ranks on all rows. Inferred: the folds, and ranking by loss
(methods disagree) because it tells more of a row than right or wrong.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ..kept import Kept
from ..resample import folds
from ..settings import SelectSettings

NUM_FOLDS = 5


def average(kept: Kept, settings: SelectSettings) -> dict[str, float]:
    """Return equal weights."""
    most = min(settings.top, len(kept.candidates))
    losses = torch.zeros(most, dtype=torch.float64)
    for held in folds(kept.blocks, NUM_FOLDS, settings.seed):
        order = kept.row_losses()[:, ~held if not held.all() else held].mean(1).argsort(stable=True)
        means = _running_means(kept.evidence[order[:most]][:, held])
        losses += kept.target.row_losses(means).double().sum(1)
    ranking = kept.row_losses().mean(1).argsort(stable=True)
    chosen = ranking[: int(losses.argmin()) + 1].tolist()
    return {kept.candidates[place].adapter_id: 1 / len(chosen) for place in chosen}


def _running_means(evidence: Float[Tensor, "adapter row value"]) -> Float[Tensor, "adapter row value"]:
    return evidence.cumsum(0) / torch.arange(1, len(evidence) + 1)[:, None, None]
