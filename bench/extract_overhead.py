"""What writing a store costs: the rate of `extract` against decode and forward alone, same batches, threads and types.

    python bench/extract_overhead.py [--quick] [--dtype float16] [--repeats 3]

A = `extract` to disk, encoding, checksums, fsync and reading back included; B = the same pipeline, tokens thrown away.
Runs A and B in turn and compares medians. Prints the ratio of the rates, A to B, last; the target is 0.95.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from icecore.extract import ExtractSettings, load_backbone, open_source
from icecore.extract.ahead import iterate_ahead
from icecore.extract.description import describe
from icecore.extract.images import Images
from icecore.extract.job import BATCHES_RUN_AHEAD, Job
from icecore.extract.scan import scan
from icecore.store import open_writer

SHARED = Path(os.environ.get("ICECORE_SHARED", Path(__file__).parents[2] / "shared"))
SOURCE = f"folder:{SHARED / 'data' / 'pacs-sketch'}"


def rate(settings: ExtractSettings, store: str | None) -> float:
    """Return rows per second, without opening, scanning and loading; where `store` is None tokens are thrown away."""
    source = open_source(SOURCE)
    num_samples = len(source.samples)
    num_rows = min(settings.limit or num_samples, num_samples)
    places = [row * num_samples // num_rows for row in range(num_rows)]
    backbone = load_backbone(settings.backbone, settings.checkpoint)
    samples = scan(source, places)
    job = Job(Images(source, places, samples, backbone.transform.pixels), backbone, settings)
    layers = tuple(range(backbone.num_layers + 1))
    for _ in job.tokens(range(min(settings.batch_size, num_rows)), layers):
        pass  # the first batch warms caches and thread pools
    if store is None:
        started = time.perf_counter()
        with iterate_ahead(job.tokens(range(num_rows), layers), BATCHES_RUN_AHEAD) as results:
            for _ in results:
                pass
        return num_rows / (time.perf_counter() - started)
    spec = describe(SOURCE, store, settings, backbone, samples, source.classes)
    with open_writer(store, spec, samples, backbone.frozen()) as writer:
        started = time.perf_counter()
        job.run(writer, lambda _: None)
        return num_rows / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="256 images, one repeat")
    parser.add_argument("--dtype", default="int8")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, default=1000)
    args = parser.parse_args()
    num_rows, repeats = (256, 1) if args.quick else (args.rows, args.repeats)
    settings = ExtractSettings(
        backbone="deit_tiny_patch16_224",
        checkpoint=str(SHARED / "weights" / "deit_tiny_patch16_224.safetensors"),
        dtype=args.dtype,
        limit=num_rows,
    )
    extracting, alone = [], []
    folder = Path(tempfile.mkdtemp(prefix="icecore-bench-"))
    try:
        for _ in range(repeats):
            extracting.append(rate(settings, str(folder / "a.ice")))
            shutil.rmtree(folder / "a.ice")
            alone.append(rate(settings, None))
            print(f"A {extracting[-1]:7.1f} rows/s   B {alone[-1]:7.1f} rows/s", flush=True)
    finally:
        shutil.rmtree(folder)
    print(f"{args.dtype}, {num_rows} rows: ratio {statistics.median(extracting) / statistics.median(alone):.3f}")


if __name__ == "__main__":
    main()
