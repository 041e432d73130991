"""What adapters are trained towards and measured by: one class a row.

Knows outputs and labels, nothing of adapters.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import cross_entropy

FLOOR = 1e-12  # of a probability, so that one sure mistake does not make a loss infinite


def losses(logits: Float[Tensor, "adapter row classes"], labels: Int64[Tensor, " row"]) -> Float[Tensor, " adapter"]:
    """Return the mean cross-entropy of each adapter."""
    num_adapters, num_rows, _ = logits.shape
    each = cross_entropy(logits.flatten(0, 1), labels.repeat(num_adapters), reduction="none")
    return each.view(num_adapters, num_rows).mean(1)


@dataclass(frozen=True)
class Scores:
    """How good some probabilities are, row by row."""

    correct: Float[Tensor, " row"]
    nll: Float[Tensor, " row"]

    @property
    def top1(self) -> float:
        """The share of rows whose most probable class is the label."""
        return float(self.correct.mean())

    @property
    def mean_nll(self) -> float:
        """The mean negative log likelihood of the labels, in nats."""
        return float(self.nll.mean())


def score(probabilities: Float[Tensor, "row classes"], labels: Int64[Tensor, " row"]) -> Scores:
    """Measure probabilities against labels."""
    right = probabilities.gather(1, labels[:, None])[:, 0].double()
    correct = (probabilities.argmax(1) == labels).double()
    return Scores(correct, -torch.log(right.clamp_min(FLOOR)))
