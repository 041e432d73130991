"""One file of a run's ledger: facts in the header of a safetensors file, tensors below; written atomically."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from icecore.store import write_atomic

HEADER = "icecore"


@dataclass(frozen=True)
class Entry:
    """Facts that JSON can say, and tensors by name."""

    facts: dict[str, Any]
    tensors: dict[str, Tensor]

    def write(self, path: Path) -> None:
        """Create or replace a file, whole or not at all."""
        write_atomic(str(path), save(self.tensors, {HEADER: json.dumps(self.facts)}))


def read_tensors(path: Path, names: Sequence[str]) -> list[Tensor]:
    """Read some tensors of a file, and no more of it."""
    with safe_open(path, "pt") as file:
        return [file.get_tensor(name).clone() for name in names]  # a copy: the file is not held open by it


def read_entry(path: Path) -> Entry | None:
    """Read a file; None where it is not one, so that what it held is done again."""
    try:
        data = path.read_bytes()
        tensors = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        return Entry(json.loads(header["__metadata__"][HEADER]), tensors)
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
