"""How tokens become stored numbers: one codec a file, all behind one contract.

A codec is a pure function between a batch of tokens and one or more numpy arrays ("parts") that share its rows; it
knows nothing of files. `values` is always among the parts. What a codec loses is stated, with its bound, in its
docstring.
"""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..choose import choose
from ..format.part import Part, ValueOutOfRange  # noqa: F401  what a codec raises
from ..format.spec import LayerSpec
from .bfloat16 import BFloat16
from .float16 import Float16
from .float32 import Float32
from .int4 import Int4
from .int8 import Int8


@runtime_checkable
class Codec(Protocol):
    """The contract of a codec."""

    name: str
    needs_channel_scale: bool  # whether a sample of rows must be measured before the first is written

    def parts(self, layer: LayerSpec) -> dict[str, Part]:
        """Return the arrays that hold one layer, by name."""
        ...

    def encode(
        self, tokens: Float[Tensor, "row token width"], channel_scale: Float[Tensor, " width"] | None = None
    ) -> dict[str, np.ndarray]:
        """Return the parts of a batch; ValueOutOfRange where a value cannot be kept within the bound."""
        ...

    def decode(
        self,
        parts: Mapping[str, Tensor],
        dtype: torch.dtype,
        channel_scale: Float[Tensor, " width"] | None = None,
    ) -> Float[Tensor, "row token width"]:
        """Return the tokens of a batch in the floating type asked for, on the device where the parts are."""
        ...


CODECS: dict[str, Codec] = {
    "float32": Float32(),
    "float16": Float16(),
    "bfloat16": BFloat16(),
    "int8": Int8(),
    "int4": Int4(),
}


def get_codec(name: str) -> Codec:
    """Return the codec of a name; UsageError with the choices where there is none."""
    return choose(CODECS, name, "dtype")
