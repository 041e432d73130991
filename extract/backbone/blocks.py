"""The layers of a plain vision transformer: the input of its first block, and the output of each block.

Knows which of timm's classes are plain; knows nothing of weights, devices and preprocessing.
"""

import threading
from collections.abc import Callable, Collection
from typing import Any

from jaxtyping import Float
from timm.models.beit import Beit
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_relpos import VisionTransformerRelPos
from torch import Tensor, nn

from icecore.store import LayerSpec

Images = Float[Tensor, "batch 3 y x"]
Tokens = Float[Tensor, "batch token width"]


def is_plain(model: nn.Module) -> bool:
    """Return whether a model is one sequence of blocks that keep the number and the width of tokens."""
    return isinstance(model, Beit | Eva | VisionTransformer | VisionTransformerRelPos)


class Blocks:
    """Reads layer 0, the input of block 1 (patches, prefix tokens, positions), and layer k, the output of block k.

    No final norm is applied. Hooks catch the tokens; threads may read at the same time.
    """

    def __init__(self, model: Any) -> None:
        grid = tuple(model.patch_embed.grid_size)
        num_tokens = model.num_prefix_tokens + grid[0] * grid[1]
        spec = LayerSpec(num_tokens=num_tokens, width=model.embed_dim, num_prefix=model.num_prefix_tokens, grid=grid)
        self.specs = (spec,) * (len(model.blocks) + 1)
        self._model = model
        self._caught = threading.local()
        _catch(model.blocks, self._caught)

    def cut(self, deepest: int) -> None:
        """Drop the blocks after layer `deepest`, and the final norm."""
        self._model.blocks = self._model.blocks[: max(deepest, 1)]  # layer 0 is caught at the input of block 1
        self._model.norm = nn.Identity()

    def read(self, images: Images, layers: Collection[int]) -> dict[int, Tokens]:
        """Return the tokens of layers."""
        tokens: dict[int, Tokens] = {}
        self._caught.wanted, self._caught.tokens = set(layers), tokens
        self._model.forward_features(images)
        del self._caught.tokens
        return tokens


def _catch(blocks: Any, caught: threading.local) -> None:
    """Register hooks that put outputs of blocks, and the input of the first, into the table of the running thread."""

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
