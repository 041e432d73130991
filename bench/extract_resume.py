"""What a kill costs: an extraction killed at half its rows and resumed, against one left alone.

A = killed with SIGKILL when half of the shards are in the ledger, then started again; B = uninterrupted. Both are whole
processes, so A pays for starting Python and loading the backbone twice: seconds that do not grow with the data set are
measured on their own and taken off. The arrays must be equal, byte by byte.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from harness import BACKBONE, CHECKPOINT, SOURCES, Figure, alternate, main, scratch

SHARD_ROWS = 64  # what the rule gives for so few rows


def command(store: Path, limit: int) -> list[str]:
    """Return the extraction as a user would type it."""
    options = ["--backbone", BACKBONE, "--checkpoint", CHECKPOINT, "--limit", str(limit)]
    return [str(Path(sys.executable).with_name("icecore")), "extract", SOURCES["rsscn7"], str(store), *options]


def uninterrupted(store: Path, limit: int) -> float:
    """Return the seconds of one extraction."""
    started = time.perf_counter()
    subprocess.run(command(store, limit), check=True, capture_output=True)
    return time.perf_counter() - started


def killed_and_resumed(store: Path, limit: int) -> float:
    """Return the seconds until a store killed half-way is finished."""
    started = time.perf_counter()
    process = subprocess.Popen(command(store, limit), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(list(store.glob("ledger/*.json"))) * SHARD_ROWS < limit / 2 and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.wait()
    subprocess.run(command(store, limit), check=True, capture_output=True)
    return time.perf_counter() - started


def arrays(store: Path) -> dict[str, bytes]:
    """Return the files of all layers."""
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("layers/**/*") if path.is_file()}


def run(options: argparse.Namespace) -> list[Figure]:
    """Measure."""
    limit, rounds = (256, 1) if options.quick else (1000, 3)
    with scratch() as folder:
        number = iter(range(100))
        first = folder / "first.ice"
        uninterrupted(first, limit)
        start_up = uninterrupted(first, limit)  # nothing left to do: what every start costs
        killed = []

        def a() -> float:
            killed.append(folder / f"{next(number)}.ice")
            return killed_and_resumed(killed[-1], limit) - start_up

        resumed, alone = alternate(a, lambda: uninterrupted(folder / f"{next(number)}.ice", limit), rounds)
        same = all(arrays(store) == arrays(first) for store in killed)
    return [
        Figure("seconds of one more start (taken off)", start_up),
        Figure("arrays equal to an uninterrupted store's (1 = yes)", float(same), ">= 1"),
        Figure("killed at half and resumed / uninterrupted", resumed / alone, "<= 1.05"),
    ]


if __name__ == "__main__":
    main(run, __doc__)
