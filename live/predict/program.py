"""A bundle and the part of its backbone that it needs as one module: normalised images in, predictions out."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from icecore.extract import Backbone, reduction
from icecore.train import Bundle


class Program(nn.Module):
    """What `Predictor` computes of images that its preprocessing has made; has every weight that it uses."""

    def __init__(self, backbone: Backbone, bundle: Bundle) -> None:
        super().__init__()
        self.name = backbone.name
        self.target = bundle.target
        self.model = backbone.model
        self.adapters = nn.ModuleList(bundle.stacks)
        self.requires_grad_(False)
        self._backbone = backbone
        self._bundle = bundle
        self._kept = {k: reduction(bundle.facts.tokens, backbone.layer_spec(k)) for k in bundle.layers}

    @torch.no_grad()
    def forward(self, images: Float[Tensor, "batch 3 y x"]) -> Float[Tensor, "batch outputs"]:
        """Return probabilities, or the numbers that the target is of."""
        tokens = self._backbone.tokens(images, self._bundle.layers)
        return self._bundle.predict({layer: self._kept[layer].reduce(tokens[layer]) for layer in self._bundle.layers})
