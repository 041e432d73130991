"""The output of `icecore extract --dry-run`: rows, bytes, free space and time."""

import dataclasses
from typing import TYPE_CHECKING

from .source_lines import source_lines
from .terminal import print_facts, print_json
from .wording import duration, layers_in_words, size

if TYPE_CHECKING:
    from icecore.extract import Preflight


def print_preflight(cost: "Preflight", as_json: bool) -> None:
    """Print rows, bytes by layer, room and time."""
    if as_json:
        print_json({**dataclasses.asdict(cost), "source": cost.source.model_dump(), "fits": cost.fits})
        return
    room = "unknown" if cost.free_bytes is None else size(cost.free_bytes)
    verdict = "" if cost.fits else "  too little: choose a smaller --dtype, --tokens pool:2 or fewer --layers"
    print_facts(
        [
            ("rows", str(cost.num_rows)),
            *source_lines(cost.source),
            *((f"layer {layers_in_words([layer])}", size(num_bytes)) for layer, num_bytes in cost.layer_bytes.items()),
            ("total", f"{size(cost.total_bytes)}  ({size(cost.missing_bytes)} still to write)"),
            ("free", room + verdict),
            ("time", f"about {duration(cost.estimated_seconds)}  ({cost.rows_per_second:.0f} rows/s)"),
        ]
    )
