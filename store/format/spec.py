"""The description of a store: the identity, which determines its numbers, and the facts recorded beside it."""

from typing import Literal

from pydantic import JsonValue

from ..configuration import Frozen
from .checksum import canonical, sha256
from .source_report import SourceReport

SUM = 999  # stands among layer numbers, in files too, for the sum of layers 1 to the deepest


def layer_name(layer: int) -> str:
    """Return a layer as users write it: its number, or `sum`.

    Example:
        >>> layer_name(11), layer_name(SUM)
        ('11', 'sum')
    """
    return "sum" if layer == SUM else str(layer)


class LayerSpec(Frozen):
    """The shape of one layer: `num_tokens` tokens of `width` channels.

    The first `num_prefix` tokens are the CLS and register tokens; the patches follow in row-major order. `grid` is the
    (rows, columns) of the patches, None where the tokens form no grid.
    """

    num_tokens: int
    width: int
    num_prefix: int
    grid: tuple[int, int] | None


class Identity(Frozen):
    """Every choice that the stored numbers depend on; two stores of equal identity are interchangeable."""

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
        """The SHA-256 of the canonical form of the identity."""
        return sha256(canonical(self.model_dump(mode="json")))

    def differences(self, asked: "Identity", wherefrom: str = "asked for") -> list[str]:
        """Return one line for every field in which `asked` differs; `wherefrom` says where `asked` comes from."""
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
    """All that is known of a store before its first row is written; `command` is the command line that resumes it."""

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
    source_report: SourceReport | None = None  # None in stores of early versions, which recorded none
    rounded_rows: int = 0  # how many of the first rows have targets rounded to float32, as early versions did
