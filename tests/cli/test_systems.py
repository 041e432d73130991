"""Every stage after extraction asks nothing of a system that macOS does not have."""

import json
import subprocess
import sys
from pathlib import Path

from PIL import Image

from icecore.store import open_store

WITHOUT_LINUX = """
import builtins, fcntl, os, pathlib, sys
for name in ("sched_getaffinity", "sched_setaffinity", "preadv", "pwritev", "posix_fadvise", "posix_fallocate",
             "memfd_create", "copy_file_range", "sendfile", "splice", "getrandom", "fdatasync", "process_cpu_count"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("F_OFD_SETLK", "F_OFD_SETLKW", "F_OFD_GETLK", "F_SETPIPE_SZ", "F_ADD_SEALS"):
    if hasattr(fcntl, name):
        delattr(fcntl, name)
def without_proc(real):
    def opened(file, *more, **named):
        if str(file).startswith("/proc"):
            raise FileNotFoundError(2, "No such file or directory", str(file))
        return real(file, *more, **named)
    return opened
builtins.open = without_proc(builtins.open)
pathlib.Path.open = without_proc(pathlib.Path.open)
from icecore.cli import main
main(sys.argv[1:])
"""


def test_every_stage_after_extraction_runs_without_what_linux_alone_has(
    store: Path, checkpoint: Path, tmp_path: Path
) -> None:
    image, run = tmp_path / "0.png", tmp_path / "r"
    Image.new("RGB", (160, 160), "grey").save(image)
    grid = ("--adapters", "linear", "--epochs", 1, "--lr", "1e-2", "--weight-decay", 0.01, "--pooling", "mean")
    commands: tuple[tuple[object, ...], ...] = (
        ("train", store, "--out", run, *grid),
        ("select", run, "--selector", "best"),
        ("predict", run / "bundle", image, "--checkpoint", checkpoint, "--out", tmp_path / "a.jsonl"),
    )
    for words in commands:
        given = [sys.executable, "-c", WITHOUT_LINUX, *map(str, words)]
        done = subprocess.run(given, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    (line,) = (tmp_path / "a.jsonl").read_text().splitlines()
    assert json.loads(line)["label"] in open_store(str(store)).classes
