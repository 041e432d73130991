"""Layer normalisation without gamma and beta, as small networks on tokens use it."""

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import layer_norm

EPS = 1e-6


def norm(values: Float[Tensor, "*stack width"], eps: float = EPS) -> Float[Tensor, "*stack width"]:
    """Give every vector mean zero and variance one."""
    return layer_norm(values, values.shape[-1:], eps=eps)
