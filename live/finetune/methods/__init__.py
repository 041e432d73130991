"""The in-backbone methods: one file each, one line each in the table.

The contract is `icecore.live.finetune.method.Method`.
"""

from icecore.store import choose

from ..method import Method
from .adapter import Adapter
from .bitfit import BitFit
from .compacter import Compacter
from .full import Full
from .kadaptation import KAdaptation
from .layernorm import LayerNorm
from .linear import Linear
from .lora import LoRA
from .subspace import Subspace
from .vpt_deep import VPTDeep
from .vpt_shallow import VPTShallow

METHODS: dict[str, type[Method]] = {
    "full": Full,
    "linear": Linear,
    "bitfit": BitFit,
    "layernorm": LayerNorm,
    "lora": LoRA,
    "adapter": Adapter,
    "compacter": Compacter,
    "vpt_shallow": VPTShallow,
    "vpt_deep": VPTDeep,
    "kadaptation": KAdaptation,
    "subspace": Subspace,
}


def get_method(name: str) -> type[Method]:
    """Return a method by name; UsageError lists the choices."""
    return choose(METHODS, name, "method")


__all__ = ["METHODS", "Method", "get_method"]
