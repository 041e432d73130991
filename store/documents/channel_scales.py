"""The scale of every channel of a layer, which int4 rows are written with, as one file of the store."""

from collections.abc import Mapping

import safetensors.torch
from torch import Tensor

from ..files.location import Location
from .root import CHANNEL_SCALES, Root, load_file


def load_channel_scales(location: Location, root: Root) -> dict[int, Tensor]:
    """Read the channels' scales; none for a codec that has none."""
    if root.file(CHANNEL_SCALES) is None:
        return {}
    tensors = safetensors.torch.load(load_file(location, root, CHANNEL_SCALES))
    return {int(name): tensor for name, tensor in tensors.items()}


def scales_bytes(scales: Mapping[int, Tensor]) -> bytes:
    """Return the file that holds the channels' scales."""
    return safetensors.torch.save({f"{layer:02d}": scales[layer] for layer in sorted(scales)})
