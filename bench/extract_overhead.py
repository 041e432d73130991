"""What writing a store costs: the rate of `extract` against decode and forward alone, same batches, threads and types.

A = `extract` to disk, encoding, checksums, fsync and reading back included; B = the same pipeline, tokens thrown away.
Opening the source and loading the backbone are left out of both. Memory is the peak of a process of its own.
"""

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

from harness import BACKBONE, CHECKPOINT, SOURCES, Figure, alternate, main, scratch

from icecore.extract import ExtractSettings
from icecore.extract.preparation import prepare
from icecore.store import open_writer


def rate(settings: ExtractSettings, store: Path, keep: bool) -> float:
    """Return rows per second of extracting, or of the same with nothing kept."""
    ready = prepare(SOURCES["pacs-sketch"], str(store), settings)
    num_rows, layers = len(ready.samples), ready.spec.identity.layers
    for _ in ready.job.tokens(range(min(64, num_rows)), layers):
        pass  # the first batches warm caches and threads
    if keep:
        with open_writer(str(store), ready.spec, ready.samples, ready.frozen, ready.job.measure) as writer:
            started = time.perf_counter()
            ready.job.run(writer, lambda _: None)
            elapsed_seconds = time.perf_counter() - started
        shutil.rmtree(store)
        return num_rows / elapsed_seconds
    started = time.perf_counter()
    for _ in ready.job.tokens(range(num_rows), layers):
        pass
    return num_rows / (time.perf_counter() - started)


def peak_bytes(arguments: list[str]) -> int:
    """Return the peak memory of this script measuring once in a process of its own."""
    answer = subprocess.run([sys.executable, __file__, *arguments], check=True, capture_output=True, text=True)
    return int(answer.stdout.split()[-1]) * 1024


def run(options: argparse.Namespace) -> list[Figure]:
    """Measure."""
    num_rows, rounds = (128, 1) if options.quick else (options.rows, 3)
    settings = ExtractSettings(backbone=BACKBONE, checkpoint=CHECKPOINT, dtype=options.dtype, limit=num_rows)
    with scratch() as folder:
        if options.once:
            rate(settings, folder / "s.ice", options.once == "keep")
            print(
                next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line).split()[1]
            )
            sys.exit()
        ours, alone = alternate(
            lambda: rate(settings, folder / "s.ice", True), lambda: rate(settings, folder / "s.ice", False), rounds
        )
    same = ["--rows", str(num_rows), "--dtype", options.dtype]
    kept, thrown = (peak_bytes([*same, "--once", how]) for how in ("keep", "throw"))
    small = peak_bytes(["--rows", str(num_rows // 4), "--dtype", options.dtype, "--once", "keep"])
    return [
        Figure("extract, rows/s", ours),
        Figure("decode + forward alone, rows/s", alone),
        Figure("peak memory beyond decode + forward, MB", (kept - thrown) / 1e6, "<= 500"),
        Figure(f"peak memory at {num_rows} rows / at a quarter of them", kept / small, "<= 1.1"),
        Figure(f"{options.dtype}: extract / decode + forward alone", ours / alone, ">= 0.95"),
    ]


if __name__ == "__main__":
    main(
        run,
        __doc__,
        lambda options: (
            options.add_argument("--rows", type=int, default=1000),
            options.add_argument("--dtype", default="int8"),
            options.add_argument("--once", choices=("keep", "throw"), help="measure once and print the peak memory"),
        ),
    )
