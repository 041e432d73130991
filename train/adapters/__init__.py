"""The adapter families: one file each, one line each in the table.

The contract is `icecore.train.adapters.adapter.Adapter`; `icecore.train.adapters.optional` has abilities that few
families have.
"""

from icecore.store import choose

from .adapter import Adapter, Scope
from .attentive import Attentive
from .efficient import Efficient
from .head2toe import Head2Toe
from .inca import InCA
from .linear import Linear
from .losa import LoSA
from .lst import LST
from .mist import MIST
from .open_inca import OpenInCA
from .optional import ClosedForm, Phased, SelectsFeatures, ShowsAttention
from .ridge import Ridge
from .synqt import SynQT
from .vqt import VQT

ADAPTERS: dict[str, type[Adapter]] = {
    "linear": Linear,
    "inca": InCA,
    "ridge": Ridge,
    "losa": LoSA,
    "lst": LST,
    "mist": MIST,
    "attentive": Attentive,
    "efficient": Efficient,
    "open_inca": OpenInCA,
    "vqt": VQT,
    "synqt": SynQT,
    "head2toe": Head2Toe,
}


def get_adapter(name: str) -> type[Adapter]:
    """Return a family by name; UsageError lists the choices."""
    return choose(ADAPTERS, name, "adapter")


__all__ = [
    "ADAPTERS",
    "Adapter",
    "ClosedForm",
    "Phased",
    "Scope",
    "SelectsFeatures",
    "ShowsAttention",
    "get_adapter",
]
