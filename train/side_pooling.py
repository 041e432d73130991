"""Which of its tokens a side network averages at its end: CLS alone, or the patches.

Knows tokens by their place; nothing of the network.
"""

from typing import Literal

from icecore.store import LayerSpec

from .adapter import Scope

SidePooling = Literal["cls", "mean"]


def pooled_tokens(pooling: SidePooling, spec: LayerSpec) -> slice:
    """Return their places."""
    return slice(0, 1) if pooling == "cls" else slice(spec.num_prefix, None)


def refuse_pooling(pooling: SidePooling, scope: Scope) -> str | None:
    """Say why there are none; None if there are some."""
    if pooling == "cls" and scope.spec.num_prefix == 0:
        return "side_pooling 'cls' needs a CLS token, and the store has none; use side_pooling: mean"
    return None
