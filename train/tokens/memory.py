"""How much memory the rows of a task take, and so in which form a feed holds them: decoded, encoded, or streamed.

Decoded rows lie on the device that trains; on CUDA that is separate memory, of which they may take half of what is
free. Encoded and streamed rows lie in the memory of the process.
"""

from collections.abc import Sequence

import torch

from icecore.store import UsageError

from .feed import BLOCK_ROWS, Feed, StoreFeed
from .held_feeds import DecodedFeed, EncodedFeed


def hold(train: StoreFeed, validation: StoreFeed, batch_size: int, memory_bytes: int) -> tuple[Feed, Feed]:
    """Return both feeds in the fastest form that fits in `memory_bytes`.

    The form does not change a result: order and values of the batches are the same in each.
    """
    streaming = streaming_bytes(train, validation, batch_size)
    if train.decoded_bytes() + validation.decoded_bytes() <= _device_bytes(train.device, memory_bytes - streaming):
        return DecodedFeed(train), DecodedFeed(validation)
    if train.encoded_bytes() + validation.encoded_bytes() <= memory_bytes:
        return EncodedFeed(train), EncodedFeed(validation)
    if streaming + validation.encoded_bytes() <= memory_bytes:
        return train, EncodedFeed(validation)
    return train, validation


def _device_bytes(device: torch.device, process_bytes: int) -> int:
    """Return what decoded rows may take on a device; `process_bytes` is what is left of the process's memory."""
    return torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else process_bytes


def streaming_bytes(train: StoreFeed, validation: StoreFeed, batch_size: int) -> int:
    """Return the bytes that both feeds take while they stream: the least that a task needs for its rows."""
    return train.streaming_bytes(batch_size) + validation.streaming_bytes(BLOCK_ROWS)


def num_workers(needs: Sequence[tuple[int, int]], most: int, memory_bytes: int) -> int:
    """Return how many tasks may train side by side, at most `most`.

    `needs` holds for each task the bytes of its rows while they stream, and of the fewest adapters that train together.

    Raises:
        UsageError: the memory is too small for the largest task.
    """
    rows, adapters = max(needs, key=sum)
    if rows + adapters > memory_bytes:
        raise UsageError(
            f"memory of {memory_bytes / 1e6:g} MB: expected at least {(rows + adapters) / 1e6:.3g} MB: "
            f"{rows / 1e6:.3g} for the pool that rows are shuffled in and {adapters / 1e6:.3g} for the fewest adapters "
            "that train together; raise --memory, extract with fewer --shard-rows, or leave out --halving"
        )
    return max(1, min(most, memory_bytes // max(1, rows + adapters)))
