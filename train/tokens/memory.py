"""How much memory the rows of a group take, and so in which form they are at hand: ready, as stored, or streamed.

Ready rows lie on the device that trains; on CUDA that is memory of its own, of which they may take half of what is
free. Stored and streamed rows lie in the memory of the process.
"""

from collections.abc import Sequence

import torch

from icecore.store import UsageError

from .feed import BLOCK_ROWS, DecodedFeed, EncodedFeed, Feed, StoreFeed


def hold(train: StoreFeed, validation: StoreFeed, batch_size: int, memory_bytes: int) -> tuple[Feed, Feed]:
    """Return the fastest form of both that fits. No form changes a result: the order is the same, and so are values."""
    ahead = least_bytes(train, validation, batch_size)
    if train.num_bytes() + validation.num_bytes() <= _resident_bytes(train.device, memory_bytes - ahead):
        return DecodedFeed(train), DecodedFeed(validation)
    if train.stored_bytes() + validation.stored_bytes() <= memory_bytes:
        return EncodedFeed(train), EncodedFeed(validation)
    if ahead + validation.stored_bytes() <= memory_bytes:
        return train, EncodedFeed(validation)
    return train, validation


def _resident_bytes(device: torch.device, left_bytes: int) -> int:
    """Return what ready rows may take on a device, given what is left of the process's memory."""
    return torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else left_bytes


def least_bytes(train: StoreFeed, validation: StoreFeed, batch_size: int) -> int:
    """Return what streaming both takes."""
    return train.pool_bytes(batch_size) + validation.pool_bytes(BLOCK_ROWS)


def num_workers(needs: Sequence[tuple[int, int]], most: int, memory_bytes: int) -> int:
    """Return how many groups may train side by side; UsageError if the memory is too little for one.

    `needs` are, of each group, the bytes of its rows when they stream, and of its adapters where as few as may train.
    """
    rows, adapters = max(needs, key=sum)
    if rows + adapters > memory_bytes:
        raise UsageError(
            f"memory of {memory_bytes / 1e6:g} MB: expected at least {(rows + adapters) / 1e6:.3g} MB: "
            f"{rows / 1e6:.3g} for the pool that rows are shuffled in and {adapters / 1e6:.3g} for the fewest adapters "
            "that train together; raise --memory, extract with fewer --shard-rows, or leave out --halving"
        )
    return max(1, min(most, memory_bytes // max(1, rows + adapters)))
