"""One adapter's epoch as a row of a table, there and back."""

import json
from typing import Any

from .candidate import Candidate
from .group import EpochResult


def to_row(result: EpochResult) -> dict[str, Any]:
    """Return a row of results.parquet."""
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


def from_row(row: dict[str, Any]) -> EpochResult:
    """Return what a row of results.parquet says."""
    names = ("epoch", "train_loss", "validation_score", "validation_loss", "seconds", "num_parameters", "status")
    return EpochResult(candidate_of(row), **{name: row[name] for name in names})


def candidate_of(row: dict[str, Any]) -> Candidate:
    """Return the candidate that a row of results.parquet is about."""
    fixed = {"adapter": row["adapter"], "layers": row["layers"], "config": json.loads(row["config"])}
    return Candidate.model_validate({**fixed, "recipe": json.loads(row["recipe"])})
