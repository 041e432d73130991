"""The images of some rows, decoded once and read as often as a training wants."""

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from icecore.extract.ahead import map_ahead
from icecore.extract.backbone_transform import Preprocessing
from icecore.extract.recompute import images_of
from icecore.store import IcecoreError, Store

NUM_AHEAD = 64  # images that may be decoded and not yet in the file


class Pixels:
    """Pixels in a file without a name: the system caches it, pages it out, and frees it with its last user."""

    def __init__(self, store: Store, rows: Int64[np.ndarray, " row"], transform: Preprocessing, folder: str) -> None:
        self._rows = np.sort(rows)
        images = images_of(store, self._rows, transform)
        with tempfile.TemporaryFile(dir=folder) as file:
            self._pixels = np.memmap(file, np.uint8, "w+", shape=(len(rows), *transform.input_size))
        with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decode") as pool:
            for place, pixels in enumerate(map_ahead(pool, images.pixels, range(len(rows)), NUM_AHEAD)):
                if isinstance(pixels, str):
                    key = images.samples[place].key
                    raise IcecoreError(
                        f"{key!r}: {pixels}; the store has tokens of it, so the source has changed since"
                    )
                self._pixels[place] = pixels.numpy()

    def of(self, rows: Int64[np.ndarray, " row"]) -> UInt8[Tensor, "row 3 y x"]:
        """Return the pixels of some of the rows."""
        return torch.from_numpy(self._pixels[np.searchsorted(self._rows, rows)])
