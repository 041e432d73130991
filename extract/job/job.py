"""One process's share of an extraction: run the batches of every shard that lacks something, and write them."""

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

NUM_MEASURED = 64  # rows of the sample that a codec may ask for


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let this thread's own tensor work (encoding) use one core; a second team of threads would fight the forward's."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Job:
    """The images and the backbone of one extraction; `cut`, and so `run`, uses the backbone up."""

    def __init__(
        self, images: Images, backbone: Backbone, settings: ExtractSettings, num_cores: int | None = None
    ) -> None:
        self._images = images
        self._backbone = backbone
        self._settings = settings
        self._threads = Threads.of(backbone.device, num_cores or num_usable_cores(), settings.num_threads)
        self._reduction = cache(lambda layer: reduction(settings.tokens, backbone.layer_spec(layer)))

    def tokens(self, rows: Sequence[int], layers: tuple[int, ...]) -> Generator[BatchTokens, None, None]:
        """Yield the tokens of some ascending rows of the source, a batch at a time, and write nothing."""
        return self._tokens(self._images, self._cut(rows, layers))

    def measure(self, layers: tuple[int, ...]) -> dict[int, Float[Tensor, "row token width"]]:
        """Return the tokens of a seeded sample of rows, of those that can be decoded."""
        num_rows = len(self._images.samples)
        chosen = np.sort(np.random.default_rng(0).permutation(num_rows)[:NUM_MEASURED]).tolist()
        results = [result.tokens for result in self.tokens(chosen, layers) if result.rows]
        if not results:
            raise IcecoreError(f"none of {len(chosen)} sampled images can be decoded; check the source")
        return {layer: torch.cat([tokens[layer] for tokens in results]) for layer in layers}

    def good(self, rows: Sequence[int], order: Sequence[int]) -> list[int]:
        """Return those of some rows of a store that can be decoded; `order` gives the place of each of its rows."""
        images = self._images.ordered(order, None)
        with self._threads.pools() as (decoding, _):
            results = decoding.map(images.pixels, rows)
            return [row for row, result in zip(rows, results, strict=True) if isinstance(result, Tensor)]

    def meter(self, writer: StoreWriter, report: Callable[[Progress], None]) -> Meter:
        """Return what counts the rows of a store as they are written."""
        num_rows = len(writer.order)
        row_bytes = sum(estimate_size(writer.spec, num_rows, 0).layers.values()) / num_rows
        return Meter(num_rows, writer.num_rows_done, row_bytes, report)

    def cut(self, deepest: int) -> None:
        """Promise that no layer after `deepest` is asked for again."""
        self._backbone.cut(deepest)

    def run(self, writer: StoreWriter, report: Callable[[Progress], None]) -> Progress:
        """Write every shard that lacks something; a shard counts when all of it is on disk, whatever happens then."""
        meter = self.meter(writer, report)
        if todo := writer.todo:
            self.cut(max(layer for shard in todo for layer in shard.layers))
            self.write(writer, todo, meter.add)
        return meter.progress

    def write(self, writer: StoreWriter, shards: Sequence[Shard], count: Callable[[float, int], None]) -> None:
        """Write some shards, and count rows and failed ones after each batch; of V views each counts a V-th."""
        batches = {shard: self._batches(shard) for shard in shards}
        asked = [batch for shard in shards for batch in batches[shard]]
        images = self._images.ordered(writer.order, self._augmentation(writer.spec.identity.augmentation))
        with closing(self._tokens(images, asked)) as results, _one_thread():
            for shard in shards:
                with writer.shard(shard) as out:
                    for result in islice(results, len(batches[shard])):
                        self._write(out, images, result)
                        num_rows, num_failed = len(result.batch.rows), len(result.failed)
                        count(num_rows / len(shard.views), num_failed if result.batch.view == shard.views[0] else 0)
                        del result  # its tokens, while the next ones are waited for

    def _batches(self, shard: Shard) -> list[Batch]:
        """Cut a shard into batches, all views of some rows before the next rows."""
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
