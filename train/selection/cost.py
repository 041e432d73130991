"""The cost of a prediction, in multiply-adds per image: the backbone up to the deepest layer, and the adapters.

The backbone's cost is estimated from the frozen blocks: each matrix multiplies every token, and attention multiplies
every pair of tokens twice. Norms, activations and the softmax are left out, and so is the embedding of patches beyond
one product of every input number with the width. An adapter's products are counted as they run.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from icecore.store import SUM, Frozen, FrozenBackbone, IcecoreError, Store

from ..adapters import get_adapter
from ..adapters.adapter import make_scope
from ..runs.candidate import Candidate, Recipe
from ..sweep.forward import forward
from ..tokens.batch import make_batch

ATEN = torch.ops.aten
PRODUCTS: dict[Any, Callable[[tuple[Any, ...]], tuple[Tensor, Tensor]]] = {
    ATEN.mm: lambda args: args[:2],
    ATEN.bmm: lambda args: args[:2],
    ATEN.addmm: lambda args: args[1:3],
    ATEN.baddbmm: lambda args: args[1:3],
}
ATTENTION = {
    ATEN._scaled_dot_product_flash_attention_for_cpu,
    ATEN._scaled_dot_product_flash_attention,
    ATEN._scaled_dot_product_efficient_attention,
}
PLAIN = Recipe(lr=0, weight_decay=0, epochs=1, batch_size=1)


class Cost(Frozen):
    """The cost of one image; `share` is the cost over the whole backbone's multiply-adds, None if unknown."""

    deepest_layer: int
    num_blocks: int | None
    num_parameters: int
    adapter_multiply_adds: int
    backbone_multiply_adds: int | None
    whole_multiply_adds: int | None
    share: float | None


class _Counter(TorchDispatchMode):
    """Counts the multiply-adds of products, as torch's own FlopCounterMode does, without its two seconds of imports."""

    multiply_adds = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # True would import the whole compiler, only to turn it off

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func.overloadpacket in PRODUCTS:
            left, right = PRODUCTS[func.overloadpacket](args)
            self.multiply_adds += left.numel() * right.shape[-1]
        elif func.overloadpacket in ATTENTION:
            query, key, value = args[:3]
            self.multiply_adds += query.shape[:-1].numel() * key.shape[-2] * (key.shape[-1] + value.shape[-1])
        return func(*args, **(kwargs or {}))


class Costs:
    """Computes the cost of predictions by adapters that were trained from one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._adapter = cache(self._count)

    def of(self, members: Sequence[Candidate], num_parameters: int) -> Cost:
        """Return the cost of a prediction by all `members`."""
        deepest, whole = max(one.layer for one in members), self._backbone(self._depth)
        deepest = (self._depth or deepest) if deepest == SUM else deepest
        adapters, below = sum(map(self.adapter, members)), self._backbone(deepest)
        return Cost(
            deepest_layer=deepest,
            num_blocks=self._depth,
            num_parameters=num_parameters,
            adapter_multiply_adds=adapters,
            backbone_multiply_adds=below,
            whole_multiply_adds=whole,
            share=None if below is None or whole is None else (below + adapters) / whole,
        )

    def share(self, members: Sequence[Candidate]) -> float:
        """Return the cost as a fraction of the whole backbone's; IcecoreError if the store does not determine it."""
        share = self.of(members, 0).share
        if share is None:
            raise IcecoreError(
                f"{self._store.url}: does not say what its backbone's blocks cost (tokens "
                f"{self._store.identity.tokens!r}); use --max-layer instead of --max-cost"
            )
        return share

    def adapter(self, candidate: Candidate) -> int:
        """Return the multiply-adds of one adapter for one image."""
        alike = candidate.model_copy(update={"recipe": PLAIN})  # the recipe does not change the cost
        return self._adapter(alike.model_dump_json())

    def _count(self, facts: str) -> int:
        candidate = Candidate.model_validate_json(facts)
        family = get_adapter(candidate.adapter)
        scope = make_scope(self._store, candidate.layers, family)
        adapter = family.build(family.recorded(candidate.config), scope, [0])
        shapes = {layer: (1, spec.num_tokens, spec.width) for layer, spec in scope.specs.items()}
        tokens = {layer: torch.zeros(shape) for layer, shape in shapes.items()}
        with torch.no_grad(), _Counter() as counter:
            forward([adapter], make_batch(tokens, scope.specs, scope.eps, adapter.reads))
        return counter.multiply_adds

    @cached_property
    def _frozen(self) -> FrozenBackbone:
        return self._store.frozen()

    @cached_property
    def _matrices(self) -> list[tuple[int, int]]:
        """The block and the number of weights of every matrix in the blocks."""
        named = [(name.split("."), tensor) for name, tensor in self._frozen.tensors.items() if tensor.ndim == 2]
        return [(int(path[1]), tensor.numel()) for path, tensor in named if path[0] == "blocks"]

    @property
    def _depth(self) -> int | None:
        """The number of blocks; None for a backbone that is not a sequence of blocks."""
        depth = self._frozen.config.get("depth")
        known = depth if isinstance(depth, int) else 0
        return max([known, *(block + 1 for block, _ in self._matrices)]) or None

    def _backbone(self, layer: int | None) -> int | None:
        """Return the multiply-adds from the image to a layer; None if the store does not determine them."""
        spec = next(iter(self._store.spec.layers.values()))
        if layer is None or not self._matrices or self._store.identity.tokens != "all":
            return None
        products = sum(size for block, size in self._matrices if block < layer) * spec.num_tokens
        attention = 2 * spec.num_tokens**2 * spec.width * layer
        return products + attention + self._embedding(spec.width)

    def _embedding(self, width: int) -> int:
        size = self._store.identity.preprocessing.get("input_size")
        return math.prod(size) * width if isinstance(size, list | tuple) else 0  # pyright: ignore
