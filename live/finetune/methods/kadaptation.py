"""KAdaptation (He et al., AAAI 2023): W' = W + scale * sum_i A_i (x) B_i, i = 1..n, (x) the Kronecker product.

The query's and the value's bias each have the same b in R^width added, one of every block, which begins as zero.

A_i = s_i t_i^T in R^(n x n), the slow factors, are shared by all blocks; B_i = u_i v_i^T, the fast ones, belong to one
weight of one block, and query and value have each their own A and B. v begins as zero, and nothing else does: in the
released code u does too, so that no factor ever has a gradient and b alone learns, and values take the queries' B. It
adds what it adds to queries after they are divided by sqrt(head width), and to other tokens and heads than meant: here
the projection itself is changed.

Inferred: s, t ~ N(0, 1/n) and u ~ N(0, n / rows), so that every A_i and u_i has a norm of about one.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from icecore.store import UsageError

from ..method import Method, draw
from ..submodules import submodules

PROJECTIONS = ("query", "key", "value")


class KAdaptation(Method):
    """Add `num_terms` Kronecker products of rank-one factors to the weights `modules` of every block; and a bias."""

    lrs = (1e-3, 3e-3)
    num_terms: int = Field(default=16, ge=1)
    scale: float = Field(default=1.0, gt=0)
    modules: tuple[str, ...] = ("query", "value")
    bias: bool = True

    def attach(self, model: Any, generator: torch.Generator) -> None:
        """Add the factors to every block; UsageError where `num_terms` does not divide the shape of a weight."""
        for name in self.modules:
            slow = _Slow(self.num_terms, generator)
            for submodule in submodules(model, name):
                if any(size % self.num_terms for size in submodule.shape):
                    raise UsageError(
                        f"kadaptation: num_terms {self.num_terms} must divide the shape {submodule.shape} of {name!r}"
                    )
                submodule.add(_Kronecker(slow, *submodule.shape, self.scale, generator))
        if self.bias:
            self._add_biases(model)

    def _add_biases(self, model: Any) -> None:
        """Add one shared bias for each block to those of query, key and value that `modules` names."""
        chosen = [list(submodules(model, name)) for name in self.modules if name in PROJECTIONS]
        for of_block in zip(*chosen, strict=True):
            shared = _Bias(of_block[0].shape[0])
            for submodule in of_block:
                submodule.add_bias(shared)


class _Bias(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.b = nn.Parameter(torch.zeros(width))

    def forward(self) -> Float[Tensor, " width"]:
        return self.b


class _Slow(nn.Module):
    """The slow factors, shared by all blocks."""

    def __init__(self, num: int, generator: torch.Generator) -> None:
        super().__init__()
        self.s = draw(num, num, std=num**-0.5, generator=generator)
        self.t = draw(num, num, std=num**-0.5, generator=generator)


class _Kronecker(nn.Module):
    def __init__(self, slow: _Slow, num_out: int, num_in: int, scale: float, generator: torch.Generator) -> None:
        super().__init__()
        num = len(slow.s)
        self.slow = slow
        self.u = draw(num, num_out // num, std=math.sqrt(num / num_out), generator=generator)
        self.v = nn.Parameter(torch.zeros(num, num_in // num))
        self._scale = scale

    def forward(self) -> Float[Tensor, "out width"]:
        """Return the change; (s t^T) (x) (u v^T) = (s (x) u) (t (x) v)^T, so the sum is a product of rank n."""
        rows = torch.einsum("ia,ic->iac", self.slow.s, self.u).flatten(1)
        columns = torch.einsum("ib,id->ibd", self.slow.t, self.v).flatten(1)
        return self._scale * rows.T @ columns
