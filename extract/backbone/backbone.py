"""A frozen timm backbone, from images to the tokens of any of its layers. Knows nothing of data sets and stores."""

from collections.abc import Sequence
from typing import Any

import torch

from icecore.store import SUM, Finding, FrozenBackbone, LayerSpec, UsageError

from .blocks import Blocks, Images, Tokens, is_plain
from .config import blocks_config, frozen_tensors
from .maps import Maps
from .transform import Preprocessing


class Backbone:
    """A timm model in eval mode without its classifier; made by `load_backbone`.

    `Blocks` defines the layers of plain vision transformers, `Maps` those of all other models. Tokens are in the
    compute type, prefix tokens first, and never normalised by a final norm. The layer SUM is the sum of layers 1 and
    on, in float32.
    """

    notes: tuple[Finding, ...] = ()  # prefixes taken off the names in the checkpoint, and tensors left over

    def __init__(
        self,
        name: str,
        model: Any,
        weights_sha256: str,
        transform: Preprocessing,
        device: torch.device,
        dtype: torch.dtype,
        deepest: int | None = None,
    ) -> None:
        self.name = name
        self.weights_sha256 = weights_sha256
        self.transform = transform
        self.device = device
        self.dtype = dtype
        self._layers = Blocks(model) if is_plain(model) else Maps(model, transform.input_size)
        self.num_layers = len(self._layers.specs) - 1
        self.model = model
        if deepest is not None:  # before the model is converted and moved, so that dropped blocks are not
            self.cut(deepest)
        self._frozen = FrozenBackbone(blocks_config(model), frozen_tensors(model, dtype))
        model.to(device, dtype)

    @property
    def preprocessing(self) -> dict:
        """The evaluation preprocessing, as JSON."""
        return self.transform.config

    @property
    def compute_dtype(self) -> str:
        """The name of the compute type, such as `float32`."""
        return str(self.dtype).removeprefix("torch.")

    def layer_spec(self, layer: int) -> LayerSpec:
        """Return the shape of a layer, or of SUM.

        Raises:
            UsageError: the backbone lacks the layer, or its layers differ in shape and have no sum.
        """
        if layer == SUM:
            return self._sum_spec()
        if not 0 <= layer <= self.num_layers:
            raise UsageError(f"layer {layer}: {self.name} has layers 0 to {self.num_layers}")
        return self._layers.specs[layer]

    def _sum_spec(self) -> LayerSpec:
        shapes = sorted({(spec.num_tokens, spec.width) for spec in self._layers.specs[1:]})
        if len(shapes) != 1:
            found = ", ".join(f"{num_tokens} x {width}" for num_tokens, width in shapes)
            raise UsageError(f"layers 'sum': the layers of {self.name} differ in tokens x width ({found or 'none'})")
        return self._layers.specs[-1]

    def frozen(self) -> FrozenBackbone:
        """Return the blocks in the compute type and the final norm in float32, including blocks dropped by `cut`."""
        return self._frozen

    def cut(self, deepest: int) -> None:
        """Drop the blocks after layer `deepest`; no deeper layer may be requested afterwards."""
        self._layers.cut(deepest)

    def forward(self, images: Images, layers: Sequence[int]) -> dict[int, Tokens]:
        """Return the tokens of layers for images prepared by `transform`; threads may call it.

        Raises:
            UsageError: a layer has another shape than its specification, because the images have another size.
        """
        with torch.no_grad():
            tokens = self.tokens(images, layers)
        for layer in layers:
            spec = self.layer_spec(layer)
            shape = (len(images), spec.num_tokens, spec.width)
            if tokens[layer].shape != shape:
                raise UsageError(
                    f"{self.name}: layer {layer} has tokens {tuple(tokens[layer].shape)}, expected {shape}"
                )
        return tokens

    def tokens(self, images: Images, layers: Sequence[int]) -> dict[int, Tokens]:
        """Return the tokens of layers as `forward` does, without its check, and with gradients if enabled."""
        summands = range(1, self.num_layers + 1) if SUM in layers else ()
        tokens = self._layers.read(images.to(self.device, self.dtype), {*layers, *summands} - {SUM})
        if SUM in layers:
            tokens[SUM] = torch.stack([tokens[layer].float() for layer in summands]).sum(0)
        return {layer: tokens[layer] for layer in layers}
