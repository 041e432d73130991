"""Runs the batches of unfinished shards in one process, and writes their tokens."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from itertools import islice

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from icecore.store import IcecoreError, Shard, ShardWriter, StoreWriter, estimate_size, num_usable_cores

from ..backbone.backbone import Backbone
from ..decoding.augmentation import Augmentation
from ..settings import ExtractSettings
from ..tokens import reduction
from .pipeline import Batch, BatchTokens, Images, run_batches
from .progress import Meter, Progress
from .threads import Threads

NUM_MEASURED = 64  # sampled rows from which a codec takes its statistics


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let tensor operations of this thread use one core, so that encoding does not compete with the forward passes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Job:
    """The images and the backbone of one extraction.

    `cut`, and `run` which calls it, drop blocks of the backbone that are not needed any more.
    """

    def __init__(
        self, images: Images, backbone: Backbone, settings: ExtractSettings, num_cores: int | None = None
    ) -> None:
        self._images = images
        self._backbone = backbone
        self._settings = settings
        self._threads = Threads.of(backbone.device, num_cores or num_usable_cores(), settings.num_threads)
        self._reduction = cache(lambda layer: reduction(settings.tokens, backbone.layer_spec(layer)))

    def tokens(self, rows: Sequence[int], layers: tuple[int, ...]) -> Generator[BatchTokens, None, None]:
        """Yield the tokens of ascending rows in the plain view, batch by batch, and write nothing."""
        return self._tokens(self._images, self._cut(rows, layers))

    def measure(self, layers: tuple[int, ...]) -> dict[int, Float[Tensor, "row token width"]]:
        """Return the tokens of a seeded sample of rows, from which codecs take statistics.

        Raises:
            IcecoreError: no sampled image can be decoded.
        """
        num_rows = len(self._images.samples)
        chosen = np.sort(np.random.default_rng(0).permutation(num_rows)[:NUM_MEASURED]).tolist()
        results = [result.tokens for result in self.tokens(chosen, layers) if result.rows]
        if not results:
            raise IcecoreError(f"none of {len(chosen)} sampled images can be decoded; check the source")
        return {layer: torch.cat([tokens[layer] for tokens in results]) for layer in layers}

    def good(self, rows: Sequence[int], order: Sequence[int]) -> list[int]:
        """Return those of `rows` whose images can be decoded.

        Args:
            rows: row indices of the store.
            order: for each row of the store, its index in `images`.
        """
        images = self._images.ordered(order, None)
        with self._threads.pools() as (decoding, _):
            results = decoding.map(images.pixels, rows)
            return [row for row, result in zip(rows, results, strict=True) if isinstance(result, Tensor)]

    def meter(self, writer: StoreWriter, report: Callable[[Progress], None]) -> Meter:
        """Return the meter of one run: it counts rows and calls `report`."""
        num_rows = len(writer.order)
        row_bytes = sum(estimate_size(writer.spec, num_rows, 0).layers.values()) / num_rows
        return Meter(num_rows, writer.num_rows_done, row_bytes, report)

    def cut(self, deepest: int) -> None:
        """Drop the blocks after layer `deepest`; no deeper layer may be requested afterwards."""
        self._backbone.cut(deepest)

    def run(self, writer: StoreWriter, report: Callable[[Progress], None]) -> Progress:
        """Write every unfinished shard, and return the final progress; finished shards survive any later failure."""
        meter = self.meter(writer, report)
        if todo := writer.todo:
            self.cut(max(layer for shard in todo for layer in shard.layers))
            self.write(writer, todo, meter.add)
        return meter.progress

    def write(self, writer: StoreWriter, shards: Sequence[Shard], count: Callable[[float, int], None]) -> None:
        """Write shards, and call `count(num_rows, num_failed)` after each batch; a row of V views counts 1/V a view."""
        batches = {shard: self._batches(shard) for shard in shards}
        all_batches = [batch for shard in shards for batch in batches[shard]]
        images = self._images.ordered(writer.order, self._augmentation(writer.spec.identity.augmentation))
        with closing(self._tokens(images, all_batches)) as results, _one_thread():
            for shard in shards:
                with writer.shard(shard) as out:
                    for result in islice(results, len(batches[shard])):
                        self._write(out, images, result)
                        num_rows, num_failed = len(result.batch.rows), len(result.failed)
                        count(num_rows / len(shard.views), num_failed if result.batch.view == shard.views[0] else 0)
                        del result  # frees its tokens before the next batch arrives

    def _batches(self, shard: Shard) -> list[Batch]:
        """Return the batches of a shard: all views of the first rows, then all views of the next rows."""
        layers = {view: tuple(sorted(k for k, lacking in shard.lacking if lacking == view)) for view in shard.views}
        cut = self._cut(range(shard.start, shard.stop), shard.layers)
        return [Batch(batch.rows, layers[view], view) for batch in cut for view in shard.views]

    def _augmentation(self, text: str | None) -> Augmentation | None:
        return None if text is None else Augmentation(text, self._backbone.transform.resize_size)

    def _cut(self, rows: Sequence[int], layers: tuple[int, ...]) -> list[Batch]:
        size = self._settings.batch_size
        return [Batch(rows[start : start + size], layers) for start in range(0, len(rows), size)]

    def _tokens(self, images: Images, batches: Sequence[Batch]) -> Generator[BatchTokens, None, None]:
        return run_batches(images, self._backbone, self._reduction, batches, self._threads)

    def _write(self, out: ShardWriter, images: Images, result: BatchTokens) -> None:
        for row, cause in result.failed.items():
            self._fail(out, images, row, cause)
        if result.rows:
            out.append(result.rows, result.tokens, result.batch.view)

    def _fail(self, out: ShardWriter, images: Images, row: int, cause: str) -> None:
        if self._settings.strict:
            key = images.samples[row].key
            raise IcecoreError(f"{key!r}: {cause}; mend or remove it, or leave --strict out to record it and go on")
        out.fail(row, cause)
