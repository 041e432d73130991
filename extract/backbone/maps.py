"""The layers of models that are no plain vision transformers: feature maps of `forward_intermediates`, as tokens.

Knows timm's contract and no family of models by name.
"""

import inspect
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from icecore.store import LayerSpec

from .blocks import Images, Tokens


class Maps:
    """Reads layer k as timm's intermediate k, from 0, without a final norm: prefix tokens, then the map by rows.

    Numbers of tokens, widths and grids may differ between layers; one forward pass of an empty image finds them.
    """

    def __init__(self, model: Any, input_size: tuple[int, int, int]) -> None:
        self._model = model
        self._options = {"norm": False, "output_fmt": "NCHW", "intermediates_only": True, "stop_early": True}
        if "return_prefix_tokens" in inspect.signature(model.forward_intermediates).parameters:
            self._options["return_prefix_tokens"] = True
        with torch.no_grad():
            found = model.forward_intermediates(torch.zeros(1, *input_size), **self._options)
        self.specs = tuple(map(_spec, found))

    def cut(self, deepest: int) -> None:
        """Do nothing: stages after the deepest requested layer never run."""

    def read(self, images: Images, layers: Collection[int]) -> dict[int, Tokens]:
        """Return the tokens of layers."""
        wanted = sorted(set(layers))
        found = self._model.forward_intermediates(images, indices=wanted, **self._options)
        return {layer: _tokens(intermediate) for layer, intermediate in zip(wanted, found, strict=True)}


def _spec(found: Any) -> LayerSpec:
    """Return the shape of an intermediate; ValueError where it is no feature map."""
    features, prefix = _parts(found)
    if not isinstance(features, Tensor) or features.ndim != 4 or len(features) != 1:
        shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise ValueError(f"an intermediate is {shape}, expected a map of 1 x width x height x width")
    _, width, *grid = features.shape
    num_prefix = 0 if prefix is None else prefix.shape[1]
    return LayerSpec(
        num_tokens=num_prefix + grid[0] * grid[1], width=width, num_prefix=num_prefix, grid=(grid[0], grid[1])
    )


def _tokens(found: Any) -> Tokens:
    features, prefix = _parts(found)
    patches = features.flatten(2).transpose(1, 2)
    return patches.contiguous() if prefix is None else torch.cat([prefix, patches], 1)


def _parts(found: Any) -> tuple[Any, Tensor | None]:
    """Return the feature map, and the prefix tokens or None."""
    return tuple(found) if isinstance(found, tuple | list) else (found, None)
