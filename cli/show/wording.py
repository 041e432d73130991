"""Quantities as text, the same in the terminal and in the report."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from icecore.extract import ExtractReport

FEW_ROWS = 5  # validation rows of a class; with fewer, the choice of an adapter is mostly noise


def percent(share: int | float | None, digits: int = 1) -> str:
    """Return an accuracy in per cent, a dash for None, NaN and infinity.

    >>> percent(0.907)
    '90.7'
    """
    return "–" if share is None or not math.isfinite(share) else f"{100 * share:.{digits}f}"


def size(num_bytes: int | float) -> str:
    """Return a number of bytes with a decimal unit.

    >>> size(1_020_000_000)
    '1.02 GB'
    """
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if num_bytes < 1000 or unit == "TB":
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    raise AssertionError("unreachable")


def duration(seconds: int | float) -> str:
    """Return a time in seconds, minutes or hours.

    >>> [duration(seconds) for seconds in (0.4, 61, 192, 9000)]
    ['0.4 s', '61 s', '3.2 min', '2.5 h']
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def short(value: object) -> str:
    """Return a configuration value as text; the items of a list are separated by commas, None is a dash."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(short(each) for each in value)
    return "–" if value is None else str(value)


def configuration(config: Mapping[str, object]) -> str:
    """Return a configuration in one line.

    >>> configuration({"lr": 0.001, "weight_decay": 0.01})
    'lr 0.001, weight decay 0.01'
    """
    return ", ".join(f"{key.replace('_', ' ')} {short(value)}" for key, value in config.items())


def extracted(report: "ExtractReport") -> str:
    """Return the summary of an extraction, such as "1797 rows, 412 MB, 38 s (47 rows/s)"."""
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
    """Return the summary of a sweep, such as "156 adapters, 61 s, 1.02 GB read", from the content of run.json.

    The summary suggests folds where a class has too few validation rows for a sound choice.
    """
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
    """Return layer numbers as text: "5", "0–12" for a run of at least three, "2, 4, 6", or the sum of all layers."""
    from icecore.store import layer_name

    is_run = len(layers) > 2 and list(layers) == list(range(min(layers), max(layers) + 1))
    return f"{layers[0]}–{layers[-1]}" if is_run else ", ".join(map(layer_name, layers))
