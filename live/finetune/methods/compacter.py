"""Compacter (Mahabadi et al. 2021): bottlenecks whose weights are sums of Kronecker products, PHM layers of low rank.

W = sum_i A_i (x) (s_i t_i^T), i = 1..n. The rules A_i in R^(n x n) ~ U(-1, 1) are shared by all blocks and both layers;
s_i and t_i belong to one layer: s_i is drawn, t_i of Down is drawn, t_i of Up is zero. Biases are zero. The standard
deviation of what is drawn is inferred: Down then has numbers as large as a dense layer's. Between them is the tanh form
of GELU.
"""

from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import gelu
from torch.nn.functional import linear as product

from icecore.store import UsageError

from ..bottleneck import add_bottlenecks
from ..method import Method, draw


class Compacter(Method):
    """A bottleneck of `hidden` units in every block; each weight is a sum of `num_terms` Kronecker products."""

    lrs = (3e-3, 1e-2)
    merges = False
    hidden: int = Field(default=64, ge=1)
    num_terms: int = Field(default=4, ge=1)

    def attach(self, model: Any, generator: torch.Generator) -> None:
        """Add a bottleneck to every block; UsageError where `num_terms` does not divide a width."""
        num = self.num_terms
        if model.embed_dim % num or self.hidden % num:
            raise UsageError(
                f"compacter: num_terms {num} must divide the width {model.embed_dim} and hidden {self.hidden}"
            )
        rules = nn.Parameter(torch.rand(num, num, num, generator=generator) * 2 - 1)

        def linear(num_in: int, num_out: int, is_zero: bool) -> nn.Module:
            return _PHM(rules, num_in, num_out, is_zero, generator)

        add_bottlenecks(model, self.hidden, linear, partial(gelu, approximate="tanh"))


class _PHM(nn.Module):
    def __init__(
        self,
        rules: Float[Tensor, "num num num"],
        num_in: int,
        num_out: int,
        is_zero: bool,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        num = len(rules)
        std = (3 / (num * num_in)) ** 0.25  # a sum of `num` terms of variance std^4 / 3 then has variance 1 / num_in
        self.rules = rules
        self.s = draw(num, num_out // num, std=std, generator=generator)
        self.t = draw(num, num_in // num, std=0.0 if is_zero else std, generator=generator)
        self.bias = nn.Parameter(torch.zeros(num_out))

    def weight(self) -> Float[Tensor, "out width"]:
        """Return the sum of the Kronecker products."""
        return torch.einsum("iab,ic,id->acbd", self.rules, self.s, self.t).flatten(2).flatten(0, 1)

    def forward(self, tokens: Float[Tensor, "batch token _in"]) -> Float[Tensor, "batch token _out"]:
        return product(tokens, self.weight(), self.bias)
