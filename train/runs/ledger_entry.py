"""One file of a run's ledger: facts in the header of a safetensors file, tensors below; written atomically.

The facts are a sealed document, which names the digest of every tensor: a flipped bit is noticed by whoever reads the
file. An earlier version sealed nothing; what it wrote is read as it is.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import google_crc32c
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from icecore.store import IntegrityError, write_atomic

from .sealed_folder import check_document, document_bytes

HEADER = "icecore"
REMEDY = "run the same icecore train command again, which trains anew what the file held"


@dataclass(frozen=True)
class Entry:
    """Facts, which must be JSON values, and tensors by name."""

    facts: dict[str, Any]
    tensors: dict[str, Tensor]

    @cached_property
    def digests(self) -> dict[str, str]:
        """The digest of each tensor, by name."""
        return {name: _digest(tensor) for name, tensor in self.tensors.items()}

    def write(self, path: Path) -> None:
        """Create or replace the file atomically."""
        write_atomic(str(path), save(self.tensors, {HEADER: document_bytes(self.facts, self.digests).decode()}))


def read_tensors(path: Path, digests: dict[str, str], names: Sequence[str]) -> list[Tensor]:
    """Return the named tensors of a file; only their bytes are read.

    Raises:
        IntegrityError: the file has changed since `digests` were read, or is gone.
    """
    try:
        with safe_open(path, "pt") as file:
            tensors = [file.get_tensor(name).clone() for name in names]  # a copy: the file is not held open by it
    except (OSError, SafetensorError) as error:
        raise IntegrityError(f"{path}: cannot be read ({' '.join(str(error).split())}); {REMEDY}") from None
    for name, tensor in zip(names, tensors, strict=True):
        if _digest(tensor) != digests[name]:
            raise IntegrityError(f"{path}: {name} is not what was written (another digest); {REMEDY}")
    return tensors


def read_entry(path: Path) -> Entry | None:
    """Return the entry of a file; None if the file is damaged, so that its groups are trained again.

    Raises:
        IcecoreError: a later version of icecore wrote the file.
    """
    try:
        data = path.read_bytes()
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        document = check_document(path, path.parent, json.loads(header["__metadata__"][HEADER]), REMEDY)
        entry = Entry(document.content, load(data))
    except (OSError, SafetensorError, IntegrityError, KeyError, ValueError, TypeError, RecursionError):
        return None
    return entry if document.files in (None, entry.digests) else None


def _digest(tensor: Tensor) -> str:
    data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return f"{tensor.dtype} {list(tensor.shape)} crc32c {google_crc32c.value(data):08x}"
