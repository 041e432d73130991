"""A bundle and the part of its backbone that it needs as one module: normalised images in, predictions out."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from icecore.extract import Backbone, reduction
from icecore.train import Bundle


class Program(nn.Module):
    """The backbone up to the deepest layer of a bundle, and the adapters of the bundle, as one module for tracing."""

    def __init__(self, backbone: Backbone, bundle: Bundle) -> None:
        super().__init__()
        self.name = backbone.name
        self.target = bundle.target
        self.model = backbone.model
        self.adapters = nn.ModuleList(bundle.stacks)
        self.requires_grad_(False)
        self._backbone = backbone
        self._bundle = bundle
        self._reductions = {k: reduction(bundle.facts.tokens, backbone.layer_spec(k)) for k in bundle.layers}

    @torch.no_grad()
    def forward(self, images: Float[Tensor, "batch 3 y x"]) -> Float[Tensor, "batch outputs"]:
        """Return probabilities, or numbers in the target's unit, for normalised images."""
        tokens = self._backbone.tokens(images, self._bundle.layers)
        return self._bundle.predict(
            {layer: self._reductions[layer].reduce(tokens[layer]) for layer in self._bundle.layers}
        )
