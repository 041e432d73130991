"""Codecs turn tokens into stored numbers and back; one codec a file, all behind one contract.

A codec is a pure function between a batch of tokens and one or more numpy arrays (its parts, always with one called
`values`) whose first axis is the batch's. It knows nothing of files. Its docstring states the error bound.
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
    """The contract of a codec; `channel_scale`, one positive factor a channel, is for codecs that need it."""

    name: str
    needs_channel_scale: bool  # whether a sample of rows must be measured before the first is written

    def parts(self, layer: LayerSpec) -> dict[str, Part]:
        """Return the declarations of the arrays that hold one layer, by name."""
        ...

    def encode(
        self, tokens: Float[Tensor, "row token width"], channel_scale: Float[Tensor, " width"] | None = None
    ) -> dict[str, np.ndarray]:
        """Return the parts of a batch of tokens of any float type, on any device.

        Raises:
            ValueOutOfRange: a value cannot be kept within the codec's error bound.
        """
        ...

    def decode(
        self,
        parts: Mapping[str, Tensor],
        dtype: torch.dtype,
        channel_scale: Float[Tensor, " width"] | None = None,
    ) -> Float[Tensor, "row token width"]:
        """Return the tokens of a batch as `dtype`, on the device of the parts."""
        ...


CODECS: dict[str, Codec] = {
    "float32": Float32(),
    "float16": Float16(),
    "bfloat16": BFloat16(),
    "int8": Int8(),
    "int4": Int4(),
}


def get_codec(name: str) -> Codec:
    """Return the codec of a name.

    Raises:
        UsageError: no codec has the name; the message lists the choices.

    Example:
        >>> tokens = torch.randn(2, 5, 8)
        >>> parts = get_codec("int8").encode(tokens)
        >>> {name: array.shape for name, array in parts.items()}
        {'values': (2, 5, 8), 'scale': (2, 5)}
    """
    return choose(CODECS, name, "dtype")
