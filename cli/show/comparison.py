"""The results of `icecore compare` on a terminal: stored beside live tokens, cached beside in-backbone training."""

from typing import TYPE_CHECKING

from .terminal import print_facts, print_line, print_table
from .wording import duration, percent, size

if TYPE_CHECKING:
    from icecore.live import Compared, Comparison, Interval, Parity


def print_parity(found: "Parity") -> None:
    """Print the largest difference of each layer and of each bundle's predictions, and the versions behind them."""
    lines = [[str(one.layer), f"{one.largest:.3g}", f"{one.relative:.2e}"] for one in found.layers]
    print_table(["layer", "largest difference", "of a row's norm"], lines)
    for one in found.predictions:
        answers = "" if one.num_changed is None else f", {one.num_changed} of {found.num_rows} answers change"
        print_line(f"{one.bundle}: predictions differ by at most {one.largest:.3g}{answers}")
    theirs, ours = found.stored_versions, found.versions
    same = {name: version for name, version in ours.items() if theirs.get(name) == version}
    other = {name: f"{version} (store: {theirs.get(name)})" for name, version in ours.items() if name not in same}
    print_facts(
        [
            ("rows", f"{found.num_rows}, in batches of {found.batch_size} on {found.device}"),
            ("computed in", f"{found.compute_dtype} (store: {found.stored_compute_dtype}, kept as {found.dtype})"),
            ("versions", ", ".join(f"{name} {version}" for name, version in {**same, **other}.items())),
        ]
    )


def print_comparison(found: "Comparison") -> None:
    """Print the table of methods and adapters with the best row marked, then the methods that failed."""
    columns = ["", "validation", f"test {found.score_name}", "95 %", "parameters", "seconds", "memory", "multiply-adds"]
    best = max(range(len(found.rows)), key=lambda place: _score(found.rows[place].validation))
    print_table(columns, [_cells(row) for row in found.rows], best)
    for row in found.rows:
        if row.status != "ok":
            print_line(f"{row.name}: {row.status}")
    print_facts(
        [
            ("rows", f"{found.num_train_rows} train; validation is {found.how}"),
            ("seconds", "of all learning rates tried; of cached adapters without the extraction"),
            ("computed in", f"{found.compute_dtype} on {found.device}"),
            ("versions", ", ".join(f"{name} {version}" for name, version in found.versions.items())),
        ]
    )


def _score(interval: "Interval | None") -> float:
    return float("-inf") if interval is None else interval.score


def _cells(row: "Compared") -> list[str]:
    test = row.test
    return [
        row.name,
        percent(None if row.validation is None else row.validation.score),
        percent(None if test is None else test.score),
        "–" if test is None else f"{percent(test.low)} to {percent(test.high)}",
        f"{row.num_parameters:,}",
        "–" if row.search_seconds is None else duration(row.search_seconds),
        "–" if row.peak_bytes is None else size(row.peak_bytes),
        "–" if row.multiply_adds is None else f"{row.multiply_adds / 1e6:.0f} M",
    ]
