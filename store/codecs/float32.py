"""float32: the exact values, four bytes each."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..format.part import Part
from ..format.spec import LayerSpec


class Float32:
    """Stores every token as it is; exact for float32, bfloat16 and float16 input."""

    name = "float32"
    needs_channel_scale = False

    def parts(self, layer: LayerSpec) -> dict[str, Part]:
        """Return the declarations of the arrays that hold one layer."""
        return {"values": Part(np.dtype("<f4"), (layer.num_tokens, layer.width), ("token", "width"))}

    def encode(
        self, tokens: Float[Tensor, "row token width"], channel_scale: Float[Tensor, " width"] | None = None
    ) -> dict[str, np.ndarray]:
        """Return the parts of a batch."""
        return {"values": tokens.to("cpu", torch.float32).contiguous().numpy()}

    def decode(
        self,
        parts: Mapping[str, Tensor],
        dtype: torch.dtype,
        channel_scale: Float[Tensor, " width"] | None = None,
    ) -> Float[Tensor, "row token width"]:
        """Return the tokens of a batch."""
        return parts["values"].to(dtype)
