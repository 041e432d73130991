"""The layers of any other timm model: the feature maps that its `forward_intermediates` returns, as tokens.

Knows timm's contract, and no family by name.
"""

import inspect
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from icecore.store import LayerSpec

from .blocks import Images, Tokens


class Maps:
    """Layer k is timm's intermediate k, counted from 0, without the final norm: tokens row by row, after any prefix.

    Counts, widths and grids may differ from layer to layer; they are found by one forward of an empty image.
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
        """Do nothing: the stages after the deepest layer that is asked for are never run."""

    def read(self, images: Images, layers: Collection[int]) -> dict[int, Tokens]:
        """Return the tokens of some layers."""
        wanted = sorted(set(layers))
        found = self._model.forward_intermediates(images, indices=wanted, **self._options)
        return {layer: _tokens(one) for layer, one in zip(wanted, found, strict=True)}


def _spec(found: Any) -> LayerSpec:
    """Return the shape of an intermediate; ValueError if it is no map."""
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
    """Return the map and the prefix tokens, if there are any."""
    return tuple(found) if isinstance(found, tuple | list) else (found, None)
