"""A frozen timm backbone: images in, the tokens of any layers out.

Knows nothing of data sets, and of stores only the words. timm is imported in the files `backbone*.py` alone.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from icecore.store import FrozenBackbone, LayerSpec, UsageError

from .backbone_config import blocks_config
from .backbone_transform import Preprocessing

Images = Float[Tensor, "batch 3 y x"]
Tokens = Float[Tensor, "batch token width"]


class Backbone:
    """A vision transformer in eval mode without its classifier; made by `load_backbone`.

    Layer 0 is what enters block 1 (patches, prefix tokens and positions); layer k is the output of block k, before any
    final norm. All tokens, the prefix tokens first, in the compute type.
    """

    def __init__(self, name: str, model: Any, weights_sha256: str, device: str, dtype: torch.dtype) -> None:
        self.name = name
        self.weights_sha256 = weights_sha256
        self.transform = Preprocessing(model)
        self.num_layers = len(model.blocks)
        self.device = device
        self.dtype = dtype
        self._frozen = FrozenBackbone(blocks_config(model), _block_tensors(model, dtype))
        grid = tuple(model.patch_embed.grid_size)
        num_prefix = model.num_prefix_tokens
        num_tokens = num_prefix + grid[0] * grid[1]
        self._spec = LayerSpec(num_tokens=num_tokens, width=model.embed_dim, num_prefix=num_prefix, grid=grid)
        self._model = model.to(device, dtype)
        self._caught = threading.local()
        _catch(model.blocks, self._caught)

    @property
    def preprocessing(self) -> dict:
        """The eval preprocessing, as JSON."""
        return self.transform.config

    @property
    def compute_dtype(self) -> str:
        """The name of the compute type."""
        return str(self.dtype).removeprefix("torch.")

    def layer_spec(self, layer: int) -> LayerSpec:
        """Return the shape of one layer."""
        if not 0 <= layer <= self.num_layers:
            raise UsageError(f"layer {layer}: {self.name} has layers 0 to {self.num_layers}")
        return self._spec

    def frozen(self) -> FrozenBackbone:
        """Return the blocks in the compute type, as they run, and the final norm as loaded, whatever was cut since."""
        return self._frozen

    def cut(self, deepest: int) -> None:
        """Drop the blocks after layer `deepest`, and the final norm: they will not be run again."""
        self._model.blocks = self._model.blocks[: max(deepest, 1)]  # layer 0 is caught where it enters block 1
        self._model.norm = nn.Identity()

    def forward(self, images: Images, layers: Sequence[int]) -> dict[int, Tokens]:
        """Return the tokens of some layers for images made by `transform`; from any number of threads."""
        tokens: dict[int, Tokens] = {}
        self._caught.wanted, self._caught.tokens = set(layers), tokens
        with torch.no_grad():
            self._model.forward_features(images.to(self.device, self.dtype))
        del self._caught.tokens
        shape = (len(images), self._spec.num_tokens, self._spec.width)
        for layer in layers:
            if tokens[layer].shape != shape:
                raise UsageError(
                    f"{self.name}: layer {layer} has tokens {tuple(tokens[layer].shape)}, expected {shape}"
                )
        return {layer: tokens[layer] for layer in layers}


def _block_tensors(model: Any, dtype: torch.dtype) -> dict[str, Tensor]:
    state = model.state_dict()
    blocks = {name: tensor.to(dtype) for name, tensor in state.items() if name.startswith("blocks.")}
    return blocks | {name: tensor.clone() for name, tensor in state.items() if name.startswith("norm.")}


def _catch(blocks: Any, caught: threading.local) -> None:
    """Let every block leave its output, and the first its input, in the table of the thread that runs it."""

    def catch_input(_: nn.Module, inputs: tuple[Tokens, ...]) -> None:
        if 0 in caught.wanted:
            caught.tokens[0] = inputs[0]

    def catch_output(layer: int) -> Callable[[nn.Module, object, Tokens], None]:
        def catch(_: nn.Module, __: object, output: Tokens) -> None:
            if layer in caught.wanted:
                caught.tokens[layer] = output

        return catch

    blocks[0].register_forward_pre_hook(catch_input)
    for layer, block in enumerate(blocks, 1):
        block.register_forward_hook(catch_output(layer))
