"""Extracts block by block: all rows of a shard pass through one block before the next block is loaded."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import closing

import torch
from torch import Tensor

from icecore.store import SUM, Shard, ShardWriter, StoreWriter

from ..backbone.streaming import StreamedBackbone
from ..rows.images import Images
from ..settings import ExtractSettings
from .ahead import map_ahead
from .job import Job
from .pipeline import Decoding, decode_ahead


class StreamedJob(Job):
    """A job that holds one block at a time, and the tokens of one shard in one view.

    Batches are those of `Job`, so both write the same tokens.
    """

    def __init__(self, images: Images, backbone: StreamedBackbone, settings: ExtractSettings) -> None:
        super().__init__(images, backbone, settings)
        self._streamed = backbone

    def write(self, writer: StoreWriter, shards: Sequence[Shard], count: Callable[[float, int], None]) -> None:
        """Write shards as `Job.write` does; `count` is called at the end of each view."""
        images = self._images.ordered(writer.order, self._augmentation(writer.spec.identity.augmentation))
        with self._threads.pools() as pools:
            for shard in shards:
                with writer.shard(shard) as out:
                    for view in shard.views:
                        num_failed = self._write_view(pools, out, images, shard, view)
                        num_rows = shard.stop - shard.start
                        count(num_rows / len(shard.views), num_failed if view == shard.views[0] else 0)

    def _write_view(
        self, pools: tuple[Executor, Executor], out: ShardWriter, images: Images, shard: Shard, view: int
    ) -> int:
        """Write the missing layers of a shard in one view, and return the number of failed rows."""
        decoding, running = pools
        batches = [batch for batch in self._batches(shard) if batch.view == view]
        ahead = decode_ahead(images, batches, decoding)
        with closing(map_ahead(running, self._enter, ahead, self._threads.num_ahead)) as results:
            entered = list(results)
        failed = {row: cause for _, _, causes in entered for row, cause in causes.items()}
        for row, cause in failed.items():
            self._fail(out, images, row, cause)
        rows = [decoded for decoded, _, _ in entered if decoded]
        tokens = [embedded for _, embedded, _ in entered if embedded is not None]
        del entered
        layers, sums = batches[0].layers, []
        for layer in range((self._streamed.num_layers if SUM in layers else max(layers)) + 1):
            if layer:
                run = _without_gradient(self._streamed.blocks.block(layer))
                for index, output in enumerate(running.map(run, tokens)):
                    tokens[index] = output
            if layer and SUM in layers:
                sums = [x + (sums[index] if sums else 0) for index, x in enumerate(map(Tensor.float, tokens))]
            if layer in layers:
                self._append(out, rows, layer, tokens, view)
        if sums:
            self._append(out, rows, SUM, sums, view)
        return len(failed)

    def _append(self, out: ShardWriter, rows: list[list[int]], layer: int, tokens: list[Tensor], view: int) -> None:
        for batch_rows, batch_tokens in zip(rows, tokens, strict=True):
            out.append(batch_rows, {layer: self._reduction(layer).reduce(batch_tokens)}, view)

    def _enter(self, decoding: Decoding) -> tuple[list[int], Tensor | None, dict[int, str]]:
        """Return the decoded rows of a batch, their layer 0 (None without any), and the causes of the failed rows."""
        pixels, failed = decoding.wait()
        if not pixels:
            return [], None, failed
        normalised = self._streamed.transform.normalise(torch.stack(list(pixels.values())).to(self._streamed.device))
        return list(pixels), _without_gradient(self._streamed.blocks.embed)(normalised), failed


def _without_gradient(run: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def call(x: Tensor) -> Tensor:
        with torch.no_grad():
            return run(x)

    return call
