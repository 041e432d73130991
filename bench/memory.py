"""Whether `--memory` holds: training from a store ten times the budget, in a process of its own.

The peak is the child's largest resident size, interpreter and libraries included. Beside it stands the peak of a child
that trains on a store that is nothing to hold, so that what the tokens add can be seen.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from harness import Figure, main, scratch
from synthetic import write_store

SHARD_ROWS = 64
CHILD = """
import resource, sys
from icecore.train import TrainSettings, train
import torch
torch.set_num_threads(2)
settings = TrainSettings(adapters=("inca",), lr=(1e-3, 3e-3), weight_decay=(0.01,), epochs=2, memory=sys.argv[3])
run = train(sys.argv[1], sys.argv[2], settings)
print(max(run.results["validation_score"].to_pylist()), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def peak(store: str, out: Path, memory: str) -> tuple[float, float]:
    """Return the best validation accuracy and the peak resident bytes of a training process."""
    command = [sys.executable, "-c", CHILD, store, str(out), memory]
    top1, num_bytes = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(top1), float(num_bytes)


def run(options: argparse.Namespace) -> list[Figure]:
    """Measure."""
    num_rows = 14_000  # a tenth of it is just enough for the pool
    with scratch() as folder:
        store = write_store(str(folder / "s.ice"), num_rows, shard_rows=SHARD_ROWS)
        small = write_store(str(folder / "small.ice"), 200, shard_rows=SHARD_ROWS)
        budget = store.num_bytes() // 10
        top1, most = peak(store.url, folder / "streamed", f"{budget}B")
        held_top1, held = peak(store.url, folder / "held", "4GB")
        _, least = peak(small.url, folder / "small", "4GB")
    return [
        Figure("store, MB", budget * 10 / 1e6),
        Figure("budget, MB", budget / 1e6),
        Figure("peak of a process with a small store, MB", least / 1e6),
        Figure("peak with all rows held, MB", held / 1e6),
        Figure("peak streaming within the budget, MB", most / 1e6),
        Figure("validation accuracy streamed - held, points", 100 * (top1 - held_top1)),
        Figure("peak - budget, GB", (most - budget) / 1e9, "<= 1.0"),
    ]


if __name__ == "__main__":
    main(run, __doc__)
