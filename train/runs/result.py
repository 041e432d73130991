"""The result of one adapter in one epoch, and its conversion to and from a row of results.parquet."""

import json
from dataclasses import dataclass
from typing import Any

from .candidate import Candidate

STATUS_OK = "ok"
STATUS_DIVERGED = "diverged"  # prefix of the status of an adapter whose loss became infinite or NaN
STATUS_STOPPED = "stopped"  # prefix of the status of an adapter that successive halving ended


@dataclass(frozen=True)
class EpochResult:
    """The result of one adapter in one epoch, counted from 1; `seconds` is the adapter's share of the group's time.

    The score of a diverged adapter is NaN.
    """

    candidate: Candidate
    epoch: int
    train_loss: float
    validation_score: float
    validation_loss: float
    seconds: float
    num_parameters: int
    status: str

    @property
    def is_last(self) -> bool:
        """Whether the epoch is the last of the recipe."""
        return self.epoch == self.candidate.recipe.epochs


def best_first(score: float, loss: float) -> tuple[float, float]:
    """Return the sort key that every choice uses: the highest score first, and of equal scores the lowest loss.

    >>> sorted([(0.8, 0.1), (0.9, 0.5), (0.9, 0.4)], key=lambda each: best_first(*each))
    [(0.9, 0.4), (0.9, 0.5), (0.8, 0.1)]
    """
    return -score, loss


def result_to_row(result: EpochResult) -> dict[str, Any]:
    """Return the row of results.parquet for a result."""
    candidate, recipe = result.candidate, result.candidate.recipe
    return {
        "adapter_id": candidate.adapter_id,
        "adapter": candidate.adapter,
        "layer": candidate.layer,
        "layers": list(candidate.layers),
        "config": json.dumps(candidate.config, sort_keys=True),
        "seed": recipe.seed,
        "lr": recipe.lr,
        "weight_decay": recipe.weight_decay,
        "epoch": result.epoch,
        "train_loss": result.train_loss,
        "validation_score": result.validation_score,
        "validation_loss": result.validation_loss,
        "seconds": result.seconds,
        "num_parameters": result.num_parameters,
        "status": result.status,
        "recipe": recipe.model_dump_json(),
    }


def result_from_row(row: dict[str, Any]) -> EpochResult:
    """Return the result that a row of results.parquet describes."""
    names = ("epoch", "train_loss", "validation_score", "validation_loss", "seconds", "num_parameters", "status")
    return EpochResult(candidate_of(row), **{name: row[name] for name in names})


def candidate_of(row: dict[str, Any]) -> Candidate:
    """Return the candidate that a row of results.parquet describes."""
    fixed = {"adapter": row["adapter"], "layers": row["layers"], "config": json.loads(row["config"])}
    return Candidate.model_validate({**fixed, "recipe": json.loads(row["recipe"])})
