"""What the benchmark scripts share: A and B in turn, medians, and one table of figures against targets."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from icecore.extract import ExtractSettings, extract

SHARED = Path(os.environ.get("ICECORE_SHARED", Path(__file__).parents[2] / "shared"))
BACKBONE = "deit_tiny_patch16_224"
CHECKPOINT = str(SHARED / "weights" / f"{BACKBONE}.safetensors")
SOURCES = {
    "gtsrb": f"wds:{SHARED / 'data/gtsrb'}",
    "rsscn7": f"csv:{SHARED / 'data/rsscn7/manifest.csv'}",
    "caltech101": f"parquet:{SHARED / 'data/caltech101'}",
    "pacs-sketch": f"folder:{SHARED / 'data/pacs-sketch'}",
}


@dataclass(frozen=True)
class Figure:
    """One measured number; `target` says what it must reach, such as `>= 0.95`; empty where nothing is promised."""

    what: str
    value: float
    target: str = ""

    @property
    def reached(self) -> bool:
        """Whether the number is as promised."""
        if not self.target:
            return True
        sign, bound = self.target.split()
        return self.value >= float(bound) if sign == ">=" else self.value <= float(bound)

    def __str__(self) -> str:
        promise = f"  (target {self.target}: {'reached' if self.reached else 'MISSED'})" if self.target else ""
        return f"{self.what:<64} {self.value:10.4g}{promise}"


# A process that starts a command and waits for it. Linux counts what a process held before it became the command, so
# that a command started by a large process never seems smaller than that; this one holds ten megabytes.
STARTER = """
import json, os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
_, status, usage = os.wait4(pid, 0)
print(json.dumps([os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024]))
"""


@dataclass(frozen=True)
class Cost:
    """What a command took: seconds of its processor, imports included, and the most bytes that it held."""

    seconds: float
    num_bytes: int


def cost_of(words: Sequence[str], code: int = 0) -> Cost:
    """Run a command in a process of its own, with one thread; SystemExit where its exit code is not the expected."""
    starter = [sys.executable, "-I", "-S", "-c", STARTER, *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(starter, env=environment, capture_output=True, text=True, check=True)
    found, seconds, num_bytes = json.loads(done.stdout)
    if found != code:
        raise SystemExit(f"{' '.join(words)}: exit code {found}, expected {code}\n{done.stderr}")
    return Cost(seconds, num_bytes)


Run = Callable[[argparse.Namespace], list[Figure]]


def alternate(a: Callable[[], float], b: Callable[[], float], rounds: int) -> tuple[float, float]:
    """Return the medians of A B A B ..., so that a noisy minute meets both."""
    measured = [(a(), b()) for _ in range(rounds)]
    return statistics.median(x for x, _ in measured), statistics.median(y for _, y in measured)


@contextmanager
def scratch() -> Iterator[Path]:
    """Give a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="icecore-bench-") as folder:
        yield Path(folder)


def store_of(name: str, folder: Path, options: argparse.Namespace) -> str:
    """Return a store of a data set, all layers in float16: one of `--stores` if there, else extracted into a folder."""
    if options.stores and (options.stores / f"{name}.ice").is_dir():
        return str(options.stores / f"{name}.ice")
    store, limit = str(folder / f"{name}.ice"), 400 if options.quick else None
    settings = ExtractSettings(backbone=BACKBONE, checkpoint=CHECKPOINT, dtype="float16", limit=limit)
    extract(SOURCES[name], store, settings)
    return store


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Return the options that every script has."""
    options = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="a small size, to see that it runs")
    options.add_argument("--device", default="cpu", help="cpu or cuda")
    options.add_argument("--stores", type=Path, help="a folder of stores NAME.ice made before")
    options.add_argument("--json", type=Path, help="write the figures to a file as well")
    return options


def main(run: Run, doc: str | None, more: Callable[[argparse.ArgumentParser], object] | None = None) -> None:
    """Run one script: print its figures, the ratio that matters last. `more` adds options of its own."""
    known = parser(doc)
    if more:
        more(known)
    options = known.parse_args()
    figures = run(options)
    if options.device.startswith("cuda"):
        figures.insert(0, Figure("peak of the GPU's memory, MB", torch.cuda.max_memory_allocated() / 1e6))
    for figure in figures:
        print(figure)
    if options.json:
        options.json.write_text(json.dumps([asdict(figure) for figure in figures]))
