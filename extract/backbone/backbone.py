"""A frozen timm backbone: images in, the tokens of any layers out.

Knows nothing of data sets, and of stores only the words. timm is imported in the files `backbone*.py` alone.
"""

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

    The layers of a plain vision transformer are those of `Blocks`, of any other model those of `Maps`. All tokens, the
    prefix tokens first, in the compute type; never through a final norm. Their sum, SUM, is added up in float32.
    """

    notes: tuple[Finding, ...] = ()  # of its checkpoint: what was taken off the names, and what was left over

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
        if deepest is not None:  # what comes after it is never converted, nor brought to the device
            self.cut(deepest)
        self._frozen = FrozenBackbone(blocks_config(model), frozen_tensors(model, dtype))
        model.to(device, dtype)

    @property
    def preprocessing(self) -> dict:
        """The eval preprocessing, as JSON."""
        return self.transform.config

    @property
    def compute_dtype(self) -> str:
        """The name of the compute type."""
        return str(self.dtype).removeprefix("torch.")

    def layer_spec(self, layer: int) -> LayerSpec:
        """Return the shape of one layer, or of the sum of all."""
        if layer == SUM:
            return self._summand_spec()
        if not 0 <= layer <= self.num_layers:
            raise UsageError(f"layer {layer}: {self.name} has layers 0 to {self.num_layers}")
        return self._layers.specs[layer]

    def _summand_spec(self) -> LayerSpec:
        shapes = sorted({(spec.num_tokens, spec.width) for spec in self._layers.specs[1:]})
        if len(shapes) != 1:
            found = ", ".join(f"{num_tokens} x {width}" for num_tokens, width in shapes)
            raise UsageError(f"layers 'sum': the layers of {self.name} differ in tokens x width ({found or 'none'})")
        return self._layers.specs[-1]

    def frozen(self) -> FrozenBackbone:
        """Return the blocks in the compute type, as they run, and the final norm as loaded, whatever was cut since."""
        return self._frozen

    def cut(self, deepest: int) -> None:
        """Promise that no layer after `deepest` is asked for again: what comes after it is not run, and may be gone."""
        self._layers.cut(deepest)

    def forward(self, images: Images, layers: Sequence[int]) -> dict[int, Tokens]:
        """Return the tokens of some layers for images made by `transform`; from any number of threads."""
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
        """Return what `forward` does, unchecked, and with gradients where they are on."""
        summands = range(1, self.num_layers + 1) if SUM in layers else ()
        tokens = self._layers.read(images.to(self.device, self.dtype), {*layers, *summands} - {SUM})
        if SUM in layers:
            tokens[SUM] = torch.stack([tokens[layer].float() for layer in summands]).sum(0)
        return {layer: tokens[layer] for layer in layers}
