"""The public names of `icecore.train.tokens`, by module; each is imported when it is first asked for."""

from .order import Order, even_batches, make_order

__all__ = [
    "Order",
    "even_batches",
    "make_order",
]
