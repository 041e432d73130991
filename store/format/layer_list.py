"""The lists of layers that users write: `all`, `sum`, `0,3,6-12`."""

import re
from collections.abc import Sequence

from ..errors import UsageError
from .spec import SUM, layer_name

FORMS = "all, sum, or numbers and ranges such as 0,3,6-12"


def parse_layer_list(
    text: str, known: Sequence[int], *, has: str, can_sum: bool = False, forms: str = FORMS
) -> list[int]:
    """Return the layers that a list names, in the order written, with repetitions.

    >>> parse_layer_list("3,0-1", range(13), has="the backbone has layers 0 to 12")
    [3, 0, 1]

    Args:
        text: numbers and ranges, `all` for every known layer, `sum` for the sum of layers (`SUM`), parted by commas.
        known: the layers that may be named.
        has: ends the error message about a layer that is not known, such as "the backbone has layers 0 to 12".
        can_sum: whether `sum` may be named where `known` lacks it.
        forms: the forms that the error message about an unreadable part names.

    Raises:
        UsageError: a part cannot be read, a range counts down, or a layer is not known.
    """
    layers: list[int] = []
    for part in map(str.strip, text.split(",")):
        for layer in known if part == "all" else (SUM,) if part == "sum" else _range(part, text, forms):
            if layer not in known and not (can_sum and layer == SUM):
                raise UsageError(f"layers {text!r}: there is no layer {layer_name(layer)}; {has}")
            layers.append(layer)
    return layers


def _range(part: str, text: str, forms: str) -> range:
    match = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", part)
    if match is None:
        raise UsageError(f"layers {text!r}: cannot read {part!r}; expected {forms}")
    first, last = int(match[1]), int(match[2] or match[1])
    if first > last:
        raise UsageError(f"layers {text!r}: {part!r} counts down; expected {last}-{first}")
    return range(first, last + 1)
