"""float16: half the bytes of float32, eleven significant bits; a value beyond its range is an error."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..format.part import Part, ValueOutOfRange
from ..format.spec import LayerSpec

LARGEST = 65504.0
NOT_FINITE = 0x7C00  # the exponent of infinities and NaN


class Float16:
    """Rounds to nearest: relative error <= 2**-11 (absolute <= 2**-25 below 6e-5); never writes an infinity."""

    name = "float16"
    needs_channel_scale = False

    def parts(self, layer: LayerSpec) -> dict[str, Part]:
        """Return the declarations of the arrays that hold one layer."""
        return {"values": Part(np.dtype("<f2"), (layer.num_tokens, layer.width), ("token", "width"))}

    def encode(
        self, tokens: Float[Tensor, "row token width"], channel_scale: Float[Tensor, " width"] | None = None
    ) -> dict[str, np.ndarray]:
        """Return the parts of a batch.

        Raises:
            ValueOutOfRange: a value is beyond 65504 or not finite.
        """
        half = tokens.to(torch.float16)
        if bool((half.view(torch.int16) & 0x7FFF).max() >= NOT_FINITE):  # four times faster than isfinite
            row = int((~torch.isfinite(half)).flatten(1).any(1).nonzero()[0, 0])
            value = float(tokens[row][~torch.isfinite(half[row])][0])
            raise ValueOutOfRange(row, value, f"does not fit float16 (largest {LARGEST:g}); use bfloat16 or int8")
        return {"values": half.cpu().contiguous().numpy()}

    def decode(
        self,
        parts: Mapping[str, Tensor],
        dtype: torch.dtype,
        channel_scale: Float[Tensor, " width"] | None = None,
    ) -> Float[Tensor, "row token width"]:
        """Return the tokens of a batch."""
        return parts["values"].to(dtype)
