"""A bar chart of scores by layer and adapter family, for the terminal."""

from collections.abc import Sequence

from rich.text import Text

from .terminal import output

BAR_WIDTH = 40
EIGHTHS = " ▏▎▍▌▋▊▉█"
COLOURS = ("cyan", "yellow", "magenta", "green", "blue", "red")


def print_chart(families: Sequence[str], rows: Sequence[tuple[str, Sequence[float | None]]]) -> None:
    """Print a bar from 0 to 1 for every row and family; print nothing where standard output is not a terminal."""
    console = output()
    if not console.is_terminal:
        return
    width = max(5, *(len(name) for name, _ in rows))
    legend = Text("  ").join(Text(f"█ {name}", style=COLOURS[i % len(COLOURS)]) for i, name in enumerate(families))
    console.print(Text("\n" + " " * (width + 2)) + legend)
    for name, values in rows:
        there = [(place, value) for place, value in enumerate(values) if value is not None]
        for line, (place, value) in enumerate(there):
            label = (name if line == 0 else "").rjust(width)
            console.print(Text.assemble(f"{label}  ", (_bar(value), COLOURS[place % len(COLOURS)])))


def _bar(share: float) -> str:
    eighths = round(max(0.0, min(1.0, share)) * BAR_WIDTH * 8)
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()
