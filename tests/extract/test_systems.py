"""Extraction asks nothing of a system that macOS does not have, and nothing of a device that MPS does not have."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from icecore.extract import load_backbone
from icecore.extract.tokens import reduction
from icecore.store import open_store, verify
from icecore.store.codecs import CODECS
from icecore.store.codecs.int4 import measure_channel_scale

from .conftest import BACKBONE, make_folder

MACOS = """
import builtins, os, sys
for name in ("sched_getaffinity", "sched_setaffinity", "preadv", "pwritev", "posix_fadvise", "posix_fallocate",
             "memfd_create", "copy_file_range", "sendfile", "splice", "getrandom", "fdatasync", "process_cpu_count"):
    if hasattr(os, name):
        delattr(os, name)
real = builtins.open
def without_proc(file, *more, **named):
    if str(file).startswith("/proc"):
        raise FileNotFoundError(2, "No such file or directory", str(file))
    return real(file, *more, **named)
builtins.open = without_proc
from icecore.cli import main
main(sys.argv[1:])
"""


def test_a_store_is_extracted_inspected_and_verified_without_what_linux_alone_has(
    checkpoint: str, tmp_path: Path
) -> None:
    source, store = make_folder(tmp_path / "images"), str(tmp_path / "s.ice")
    backbone = ("--backbone", BACKBONE, "--checkpoint", checkpoint, "--layers", "0,1")
    for words in (("extract", source, store, *backbone), ("verify", store, "--recompute", "3")):
        done = subprocess.run([sys.executable, "-c", MACOS, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert open_store(store).num_missing == 0
    assert verify(store) == []


class NoFloat64(TorchDispatchMode):
    """Refuses every operation that gives numbers of 64 bits, as MPS does."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for one in tree_leaves(result):
            assert not (isinstance(one, Tensor) and one.dtype == torch.float64), function
        return result


def test_no_number_of_64_bits_is_made_on_the_way_from_pixels_to_stored_bytes(checkpoint: str) -> None:
    backbone = load_backbone(BACKBONE, checkpoint, "cpu", "float32")
    pixels = torch.randint(0, 256, (3, 3, 160, 160), dtype=torch.uint8)
    with NoFloat64():
        tokens = backbone.forward(backbone.transform.normalise(pixels), (0, 999))
        for layer, values in tokens.items():
            for kind in ("all", "cls", "pool:3"):
                kept = reduction(kind, backbone.layer_spec(layer)).reduce(values)
                for codec in CODECS.values():
                    scale = measure_channel_scale(kept) if codec.needs_channel_scale else None
                    assert codec.encode(kept, scale)
