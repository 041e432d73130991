"""Gives the tensors of a checkpoint the names that timm's model has.

Training scripts save a model inside a table (`state_dict`, `model`, `model_ema`, `teacher`), under a prefix (`module.`,
`backbone.`), and beside tensors that only training needs.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from icecore.store import Finding, UsageError

WRAPPERS = (
    "model",
    "state_dict",
    "model_ema",
    "state_dict_ema",
    "teacher",
    "ema",
    "student",
)  # the first that exists is taken
AVERAGED = ("teacher", "ema")  # words of the prefix that is preferred where a file holds several models
AFTER_THE_LAYERS = ("fc_norm", "head", "head_drop", "head_dist", "pre_logits")  # modules that no layer passes through


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Tensors by name, and notes about prefixes taken off and tensors left over."""

    tensors: dict[str, Tensor]
    notes: tuple[Finding, ...] = ()


def unwrapped(state: Any) -> tuple[Any, tuple[Finding, ...]]:
    """Return the innermost table of tensors in a saved object, and notes that name the tables around it."""
    notes: list[Finding] = []
    while isinstance(state, dict):
        found = [name for name in WRAPPERS if isinstance(state.get(name), dict)]
        if not found:
            break
        beside = f", beside {', '.join(found[1:])}" if found[1:] else ""
        notes.append(Finding(what=f"checkpoint table taken{beside}", count=1, example=found[0]))
        state = state[found[0]]
    return state, tuple(notes)


def renamed(state: Mapping[str, Tensor], wanted: Collection[str], where: str) -> Checkpoint:
    """Return tensors under the names that `without_prefix` gives; UsageError as there."""
    names, notes = without_prefix(state, wanted, where)
    return Checkpoint({name: state[stored] for name, stored in names.items()}, notes)


def without_prefix(
    stored: Collection[str], wanted: Collection[str], where: str
) -> tuple[dict[str, str], tuple[Finding, ...]]:
    """Return the names in a checkpoint by what they are without the prefix under which most of the wanted ones lie.

    Without such a prefix all keep their names; with one, the names outside of it are left out, and counted.

    Raises:
        UsageError: several models lie side by side, and none is a teacher's or an average.
    """
    prefix = _prefix(stored, frozenset(wanted), where)
    if not prefix:
        return {name: name for name in stored}, ()
    inside = {name.removeprefix(prefix): name for name in stored if name.startswith(prefix)}
    beside = [name for name in stored if not name.startswith(prefix) and name not in inside]
    note = Finding(what="checkpoint tensors under a prefix, taken off", count=len(inside), example=prefix)
    if not beside:
        return inside, (note,)
    rest = Finding(what="checkpoint tensors beside the model, left over", count=len(beside), example=min(beside))
    return inside, (note, rest)


def left_over(names: Collection[str]) -> tuple[Finding, ...]:
    """Return in words the tensors that no layer of the model passes through."""
    if not names:
        return ()
    what = "checkpoint tensors that the model does not need"
    return (Finding(what=what, count=len(names), example=", ".join(sorted(names)[:3])),)


def is_spare(model: nn.Module, name: str) -> bool:
    """Say whether a tensor that a model has no place for changes none of its layers, as a second head's does not.

    A tensor inside a part that the model has (one more block, a scale in a block) means another architecture.
    """
    part = name.partition(".")[0]
    return part in AFTER_THE_LAYERS or not hasattr(model, part)


def _prefix(names: Collection[str], wanted: frozenset[str], where: str) -> str:
    """Return the prefix under which most of the wanted names lie, empty where that is none."""
    counts: Counter[str] = Counter()
    for name in names:
        parts = name.split(".")
        tails = (".".join(parts[start:]) for start in range(len(parts)))
        counts.update(name.removesuffix(tail) for tail in tails if tail in wanted)
    most = max(counts.values(), default=0)
    best = [prefix for prefix, count in counts.items() if count == most]
    if len(best) < 2 or "" in best:
        return "" if not best or "" in best else best[0]
    preferred = [prefix for prefix in best if any(word in prefix for word in AVERAGED)]
    if len(preferred) != 1:
        raise UsageError(f"{where}: holds several models ({', '.join(sorted(best))}); save the tensors of one alone")
    return preferred[0]
