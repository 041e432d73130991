"""One frozen block of a vision transformer, applied to extra queries that attend to the block's cached input.

A query is an extra token without a position, which attends to the tokens of its image and to which no token attends:

    h = LS1 (W_O MHA(W_Q LN1(p), W_K LN1(x), W_V LN1(x)) + b_O)      `attend`; or `fold`, then `gathered`
    g = LS2 MLP(LN2(p + h))                                          `mlp`
    p + h + g is the output of the block

The block's tensors get no gradient; gradients pass through them to the queries.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from pydantic import JsonValue
from torch import Tensor
from torch.nn import functional

from icecore.store import IcecoreError

from .block_tensors import BlockFacts, block_tensors

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "silu": functional.silu,
    "relu": functional.relu,
}


@dataclass(frozen=True)
class FrozenBlock:
    """A frozen block in float32; `FrozenBlock.of` makes one. `tensors` have the names that `block_tensors` gives."""

    facts: BlockFacts
    tensors: dict[str, Tensor]

    @classmethod
    def of(cls, config: dict[str, JsonValue], tensors: dict[str, Tensor], index: int) -> "FrozenBlock":
        """Rebuild block `index` of a store's frozen backbone, on the device of its tensors; block 0 reads layer 0.

        Raises:
            IcecoreError: the blocks of the backbone cannot be rebuilt, or the store lacks block `index`.
        """
        if config.get("rebuild") is None:
            reason = config.get("why_not") or "the store does not say how; extract again"
            raise IcecoreError(f"backbone: its blocks cannot be rebuilt without timm: {reason}")
        facts = BlockFacts.model_validate(config["rebuild"])
        prefix = f"blocks.{index}."
        of_block = {
            name.removeprefix(prefix): t.detach().float() for name, t in tensors.items() if name.startswith(prefix)
        }
        if not of_block:
            raise IcecoreError(f"backbone/frozen.safetensors: there is no block {index}; expected tensors {prefix}*")
        return cls(facts, block_tensors(of_block, facts))

    @property
    def can_fold(self) -> bool:
        """Whether keys are linear in the normalised tokens: false where the block normalises every key."""
        return not self.facts.qk_norm

    def to(self, device: torch.device | str) -> "FrozenBlock":
        """Return the same block on another device."""
        return FrozenBlock(self.facts, {name: tensor.to(device) for name, tensor in self.tensors.items()})

    def fold(self, queries: Float[Tensor, "*stack query width"]) -> Float[Tensor, "*stack folded width"]:
        """Multiply the key projection into the queries, so that their product with a normalised token is a logit.

        The logits are up to a constant for each query, which the softmax removes. `folded` is query-major, then head.

        Raises:
            IcecoreError: the block normalises its keys (`can_fold` is false).
        """
        if not self.can_fold:
            raise IcecoreError("backbone: its attention normalises every key, so it cannot be folded; use attend")
        heads = self._heads(self._linear("query", self._norm("norm1", queries)))  # *stack query head inner
        keys = self.tensors["key.weight"].unflatten(0, (self.facts.num_heads, -1))  # head inner width
        folded = torch.einsum("...hi,hiw->...hw", heads, keys.to(heads.dtype)) / math.sqrt(heads.shape[-1])
        gamma = self.tensors.get("norm1.weight")
        return (folded if gamma is None else folded * gamma).flatten(-3, -2)

    def gathered(self, pooled: Float[Tensor, "*stack folded width"]) -> Float[Tensor, "*stack query width"]:
        """Return the attention branch, without the residual, from the vectors that folded queries pooled.

        The values are projected in the dtype of `pooled`; the rest is in float32.
        """
        weight, bias = self.tensors["value.weight"], self.tensors.get("value.bias")
        if (beta := self.tensors.get("norm1.bias")) is not None:
            bias = weight @ beta if bias is None else bias + weight @ beta
        if (gamma := self.tensors.get("norm1.weight")) is not None:
            weight = weight * gamma
        by_head = pooled.unflatten(-2, (-1, self.facts.num_heads))  # *stack query head width
        weights = weight.unflatten(0, (self.facts.num_heads, -1)).to(pooled.dtype)  # head inner width
        values = torch.einsum("...hw,hiw->...hi", by_head, weights).flatten(-2).float()
        return self._out(values if bias is None else values + bias)

    def attend(
        self, queries: Float[Tensor, "row query width"], normalised: Float[Tensor, "row token width"]
    ) -> Float[Tensor, "row query width"]:
        """Return the attention branch, without the residual, of each row's own queries, projecting every token.

        `normalised` are the tokens of the block's input after layer normalisation without an affine.
        """
        gamma, beta = (self.tensors.get(f"norm1.{name}") for name in ("weight", "bias"))
        normed = normalised.float() if gamma is None else normalised.float() * gamma
        normed = normed if beta is None else normed + beta
        query = self._heads(self._linear("query", self._norm("norm1", queries))).transpose(1, 2)
        key, value = (self._heads(self._linear(name, normed)).transpose(1, 2) for name in ("key", "value"))
        if self.facts.qk_norm:
            query, key = self._norm("query_norm", query), self._norm("key_norm", key)
        gathered = functional.scaled_dot_product_attention(query, key, value)  # row head query inner
        return self._out(gathered.transpose(1, 2).flatten(-2))

    def mlp(self, queries: Float[Tensor, "*stack query width"]) -> Float[Tensor, "*stack query width"]:
        """Return the MLP branch, without the residual."""
        normed = self._norm("norm2", queries)
        activation = ACTIVATIONS[self.facts.activation]
        hidden = self._linear("expand", normed)
        if "gate.weight" in self.tensors:
            hidden = activation(self._linear("gate", normed)) * hidden
        else:
            hidden = activation(hidden)
        if self.facts.mlp_norm:
            hidden = self._norm("hidden_norm", hidden)
        return self._scaled("scale2", self._linear("contract", hidden))

    def _out(self, values: Tensor) -> Tensor:
        if self.facts.attention_norm:
            values = self._norm("attention_norm", values)
        return self._scaled("scale1", self._linear("out", values))

    def _heads(self, joined: Tensor) -> Tensor:
        return joined.unflatten(-1, (self.facts.num_heads, -1))

    def _linear(self, name: str, inputs: Tensor) -> Tensor:
        return functional.linear(inputs, self.tensors[f"{name}.weight"], self.tensors.get(f"{name}.bias"))

    def _norm(self, name: str, inputs: Tensor) -> Tensor:
        affine = self.tensors.get(f"{name}.weight"), self.tensors.get(f"{name}.bias")
        return functional.layer_norm(inputs, inputs.shape[-1:], *affine, eps=self.facts.eps)

    def _scaled(self, name: str, branch: Tensor) -> Tensor:
        return branch * self.tensors[name] if name in self.tensors else branch
