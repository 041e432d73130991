"""Quantities in words, the same in the terminal and on the page."""

from collections.abc import Mapping


def percent(share: float | None, digits: int = 1) -> str:
    """Write an accuracy in per cent: 0.907 is 90.7."""
    return "–" if share is None else f"{100 * share:.{digits}f}"


def size(num_bytes: float) -> str:
    """Write a number of bytes with a decimal unit: 1.02 GB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if num_bytes < 1000 or unit == "TB":
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    raise AssertionError("unreachable")


def duration(seconds: float) -> str:
    """Write a time with the precision that matters: 0.4 s, 61 s, 12 min, 3.2 h."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


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
