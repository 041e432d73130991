"""The file with the scale of every channel of every layer, which int4 rows are written with."""

from collections.abc import Mapping

import safetensors.torch
from torch import Tensor

from ..files.location import Location
from .root import CHANNEL_SCALES, Root, load_file


def load_channel_scales(location: Location, root: Root) -> dict[int, Tensor]:
    """Return the scales of the channels by layer, each of shape (width,); empty for a codec without."""
    if root.file(CHANNEL_SCALES) is None:
        return {}
    tensors = safetensors.torch.load(load_file(location, root, CHANNEL_SCALES))
    return {int(name): tensor for name, tensor in tensors.items()}


def scales_bytes(scales: Mapping[int, Tensor]) -> bytes:
    """Return the bytes of the file that holds the scales."""
    return safetensors.torch.save({f"{layer:02d}": scales[layer] for layer in sorted(scales)})
