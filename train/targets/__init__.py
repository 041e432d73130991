"""The targets, by the name that a store records: one file and one line of `TARGETS` each. The contract is `Target`."""

from collections.abc import Mapping
from typing import Any

from icecore.store import choose

from .multilabel import Multilabel
from .one_class import OneClass
from .regression import Regression
from .target import LossWeights, Target

TARGETS: dict[str, type[Target]] = {
    "class": OneClass,
    "multilabel": Multilabel,
    "regression": Regression,
}


def get_target(name: str) -> Target:
    """Return an unfitted target by name; UsageError for an unknown name lists the choices."""
    return choose(TARGETS, name, "target")()


def recorded_target(facts: Mapping[str, Any]) -> Target:
    """Return the fitted target that a run recorded: its name and its fitted values."""
    return TARGETS[facts["name"]].model_validate({key: value for key, value in facts.items() if key != "name"})


__all__ = ["LossWeights", "TARGETS", "Target", "recorded_target", "get_target"]
