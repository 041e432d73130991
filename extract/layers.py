"""Which layers a user means."""

import re

from icecore.store import SUM, UsageError


def parse_layers(text: str, num_layers: int) -> tuple[int, ...]:
    """Return the layers that `all`, `sum` or a list such as `0,3,6-12` names, ascending; the sum comes last.

    The backbone has layers 0 to `num_layers`. In a plain vision transformer layer 0 is what enters block 1 and layer k
    the output of block k; elsewhere layer k is timm's intermediate k, counted from 0. The sum is of layers 1 and on.
    """
    named = {"all": range(num_layers + 1), "sum": (SUM,)}
    layers: set[int] = set()
    for part in text.split(","):
        if part.strip() in named:
            layers.update(named[part.strip()])
            continue
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if match is None:
            raise UsageError(f"layers {text!r}: cannot read {part!r}; expected all, sum, or numbers such as 0,3,6-12")
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last:
            raise UsageError(f"layers {text!r}: {part.strip()!r} counts down; expected the smaller number first")
        if last > num_layers:
            raise UsageError(f"layers {text!r}: there is no layer {last}; the backbone has layers 0 to {num_layers}")
        layers.update(range(first, last + 1))
    return tuple(sorted(layers))
