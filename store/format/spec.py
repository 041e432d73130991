"""What a store holds: the identity that must never change silently, and the facts recorded beside it."""

from typing import Literal

from pydantic import JsonValue

from ..configuration import Frozen
from .checksum import canonical, sha256
from .source_report import SourceReport

SUM = 999  # among the numbers of layers: not one of them, but layers 1 to the deepest, added up


def layer_name(layer: int) -> str:
    """Write a layer as users do: its number, or `sum`."""
    return "sum" if layer == SUM else str(layer)


class LayerSpec(Frozen):
    """The shape of one layer: tokens in order prefix (CLS, registers) then the `grid` (rows, columns) of patches."""

    num_tokens: int
    width: int
    num_prefix: int
    grid: tuple[int, int] | None


class Identity(Frozen):
    """Everything that changes the numbers in a store; two stores of equal identity are interchangeable."""

    backbone: str
    weights_sha256: str
    preprocessing: dict[str, JsonValue]
    layers: tuple[int, ...]
    norm: Literal["none"] = "none"
    tokens: str
    dtype: str
    compute_dtype: str
    views: int = 1
    augmentation: str | None = None
    dataset_sha256: str

    @property
    def sha256(self) -> str:
        """The digest that stands for this identity."""
        return sha256(canonical(self.model_dump(mode="json")))

    def differences(self, asked: "Identity", wherefrom: str = "asked for") -> list[str]:
        """Say in words where another identity differs, a line for each field; `wherefrom` says whose the other is."""
        return _differences(self.model_dump(mode="json"), asked.model_dump(mode="json"), wherefrom)


def _differences(
    stored: dict[str, JsonValue], asked: dict[str, JsonValue], wherefrom: str, prefix: str = ""
) -> list[str]:
    lines: list[str] = []
    for key in sorted({*stored, *asked}):
        ours, theirs = stored.get(key), asked.get(key)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            lines += _differences(ours, theirs, wherefrom, f"{prefix}{key}.")
        elif ours != theirs:
            lines.append(f"{prefix}{key}: {ours} in the store, {theirs} {wherefrom}")
    return lines


class StoreSpec(Frozen):
    """All that is known of a store before its first row: identity, shapes, classes, and how to resume it."""

    identity: Identity
    layers: dict[int, LayerSpec]
    classes: tuple[str, ...]
    target: Literal["class", "multilabel", "regression"] = "class"
    source: str
    checkpoint: str | None
    command: str
    versions: dict[str, str]
    shard_rows: int | None = None
    compressor: str | None = None
    source_report: SourceReport | None = None  # None in a store of a version that recorded none
    rounded_rows: int = 0  # the first rows, if their target numbers were rounded to float32, as once all were
