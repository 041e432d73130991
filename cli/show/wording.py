"""Quantities in words, the same in the terminal and on the page."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from icecore.extract import ExtractReport

FEW_ROWS = 5  # of a class: fewer say little


def percent(share: int | float | None, digits: int = 1) -> str:
    """Write an accuracy in per cent: 0.907 is 90.7; a dash where there is no number."""
    return "–" if share is None or not math.isfinite(share) else f"{100 * share:.{digits}f}"


def size(num_bytes: int | float) -> str:
    """Write a number of bytes with a decimal unit: 1.02 GB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if num_bytes < 1000 or unit == "TB":
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    raise AssertionError("unreachable")


def duration(seconds: int | float) -> str:
    """Write a time with the precision that matters: 0.4 s, 61 s, 3.2 min, 2.5 h."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def short(value: object) -> str:
    """Write a configuration value: 0.001, cls, 1 2 3."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(short(each) for each in value)
    return "–" if value is None else str(value)


def configuration(config: Mapping[str, object]) -> str:
    """Write a configuration in one line: lr 0.001, weight_decay 0.01."""
    return ", ".join(f"{key.replace('_', ' ')} {short(value)}" for key, value in config.items())


def extracted(report: "ExtractReport") -> str:
    """Write what an extraction did: 1797 rows, 412 MB, 38 s (47 rows/s)."""
    parts = [f"{report.num_rows} rows", size(report.num_bytes)]
    if report.num_failed:
        reasons = "; ".join(f"{count} {reason}" for reason, count in report.failures.items())
        parts.append(f"{report.num_failed} failed ({reasons})")
    if report.num_retried:
        parts.append(f"{report.num_retried} failed ones tried again, {report.num_mended} of them good now")
    if report.num_skipped == report.num_rows:
        return ", ".join([*parts, "all of them there before"])
    if report.num_skipped:
        parts.append(f"{report.num_skipped} there before")
    return ", ".join([*parts, f"{duration(report.elapsed_seconds)} ({report.rows_per_second:.0f} rows/s)"])


def trained(run: Mapping[str, Any]) -> str:
    """Write what a sweep did, and what to do about classes too small to choose by: 156 adapters, 61 s, 1.02 GB read."""
    cost, validation = run["cost"], run["validation"]
    parts = [f"{cost['num_adapters']} adapters"]
    if cost["num_diverged"]:
        parts.append(f"{cost['num_diverged']} diverged")
    if cost["num_stopped"]:
        parts.append(f"{cost['num_stopped']} stopped early")
    done = ", ".join([*parts, duration(cost["elapsed_seconds"]), f"{size(cost['bytes_read'])} read"])
    if run.get("trained_anew"):
        done += f"; all trained anew, since the store has grown: {', '.join(run['trained_anew'])}"
    fewest = validation["fewest_rows_of_a_class"]
    if fewest is None or fewest >= FEW_ROWS or validation["num_folds"]:
        return done
    return f"{done}; the smallest class has {fewest} validation rows, 5 folds would choose by all train rows"


def layers_in_words(layers: Sequence[int]) -> str:
    """Write which layers are read: 5, 0–12, or 2, 4, 6, or the sum of all."""
    from icecore.store import layer_name

    is_run = len(layers) > 2 and list(layers) == list(range(min(layers), max(layers) + 1))
    return f"{layers[0]}–{layers[-1]}" if is_run else ", ".join(map(layer_name, layers))
