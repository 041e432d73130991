"""Writing one shard of every layer and view: encode tokens, stream them to files, and read the files back to check."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

from jaxtyping import Float
from torch import Tensor

from ..codecs import ValueOutOfRange, get_codec
from ..documents.root import Root, shard_name
from ..errors import IcecoreError, IntegrityError
from ..files.location import Location
from ..format.layout import Shard
from ..format.shard import FileDigest, ShardDecoder, ShardEncoder, ShardFormat

Files = dict[int, dict[int, dict[str, FileDigest]]]
_Key = tuple[int, int, str]  # layer, view, part


class ShardWriter:
    """Writes the rows of one shard in ascending order, a batch at a time; made by `StoreWriter.shard`.

    With `replaces`, existing files stay in place until `finish` replaces them; otherwise they are deleted first.
    """

    def __init__(
        self,
        location: Location,
        root: Root,
        shard: Shard,
        channel_scales: Mapping[int, Float[Tensor, " width"]],
        replaces: bool,
    ) -> None:
        self._location = location
        self._root = root
        self._shard = shard
        self._replaces = replaces
        self._channel_scales = channel_scales
        self._codec = get_codec(root.spec.identity.dtype)
        self._failed: dict[int, str] = {}
        self._num_rows = dict.fromkeys(shard.lacking, 0)
        self._open = contextlib.ExitStack()
        self._encoders: dict[_Key, ShardEncoder] = {}
        self._started = time.monotonic()

    def __enter__(self) -> "ShardWriter":
        with self._open as stack:
            for layer, view in self._shard.lacking:
                for part, shard_format in self._root.shard_formats(layer).items():
                    name = self._name(layer, view, part, shard_format)
                    if not self._replaces:
                        self._location.delete(name)
                    file = stack.enter_context(self._location.create(name))
                    self._encoders[layer, view, part] = ShardEncoder(
                        file, shard_format, self._shard.stop - self._shard.start
                    )
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def append(
        self, rows: Sequence[int], tokens: Mapping[int, Float[Tensor, "row token width"]], view: int = 0
    ) -> None:
        """Append the tokens of ascending rows, by layer, in any float type and on any device.

        Layers may come in one call or in several; all must have had the same rows when `finish` is called. Layers that
        the shard does not lack in this view are ignored.

        Raises:
            IcecoreError: the tokens have the wrong shape, or the codec cannot keep a value.
        """
        if not rows:
            return
        positions = [row - self._shard.start for row in rows]
        for layer in (layer for layer, lacking in self._shard.lacking if lacking == view and layer in tokens):
            self._num_rows[layer, view] += len(rows)
            for part, array in self._encode(layer, rows, tokens[layer]).items():
                self._encoders[layer, view, part].append(positions, array)

    def fail(self, row: int, cause: str) -> None:
        """Record that a row could not be extracted, and the cause."""
        self._failed[row] = cause

    def finish(self) -> tuple[Files, dict[int, str], float]:
        """Close all files, read them back, and return their digests, the failed rows with causes, and elapsed seconds.

        Raises:
            IcecoreError: the layers have different numbers of rows.
            IntegrityError: a file read back differs from what was written.
        """
        self._require_same_rows()
        digests = {key: encoder.finish() for key, encoder in self._encoders.items()}
        self._open.close()
        files: Files = {}
        for (layer, view, part), digest in digests.items():
            self._read_back(layer, view, part, digest)
            files.setdefault(layer, {}).setdefault(view, {})[part] = digest
        return files, self._failed, time.monotonic() - self._started

    def _require_same_rows(self) -> None:
        for view in self._shard.views:
            counts = {layer: self._num_rows[layer, view] for layer, lacking in self._shard.lacking if lacking == view}
            if len(set(counts.values())) > 1:
                raise IcecoreError(f"shard {self._shard.index}: layers have different numbers of rows: {counts}")

    def _encode(self, layer: int, rows: Sequence[int], values: Tensor) -> dict:
        spec = self._root.spec.layers[layer]
        expected = (len(rows), spec.num_tokens, spec.width)
        if values.shape != expected:
            raise IcecoreError(f"layer {layer}: tokens of shape {tuple(values.shape)}, expected {expected}")
        try:
            return self._codec.encode(values, self._channel_scales.get(layer))
        except ValueOutOfRange as error:
            raise IcecoreError(f"{self._location.url}: layer {layer}, row {rows[error.row]}: {error}") from None

    def _read_back(self, layer: int, view: int, part: str, digest: FileDigest) -> None:
        shard_format = self._root.shard_formats(layer)[part]
        name = self._name(layer, view, part, shard_format)
        problems = ShardDecoder(self._location, name, shard_format, digest).check()
        if problems:
            raise IntegrityError(f"{self._location.url}: {name} {problems[0][1]} right after writing; check the disk")

    def _name(self, layer: int, view: int, part: str, shard_format: ShardFormat) -> str:
        return shard_name(layer, part, view, self._shard.index, len(shard_format.part.shape))
