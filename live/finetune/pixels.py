"""Decoded images of a set of rows, in all views of a store, kept in an unnamed file and read in any order."""

import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from icecore.extract import images_of
from icecore.extract.backbone import Preprocessing
from icecore.extract.decoding import Augmentation
from icecore.extract.job import map_ahead
from icecore.extract.rows import Images
from icecore.store import IcecoreError, Store

NUM_AHEAD = 64  # images decoded but not yet written to the file

Rows = Int64[np.ndarray, " row"]
SomeRows = Int64[np.ndarray, " _row"]  # the underscore: plain and viewed rows differ in number


class Pixels:
    """Pixels of `plain` rows in view 0 and of `viewed` rows in every other view, augmented as the extraction did.

    The pixels lie in a memory-mapped file without a name in `folder`: the operating system caches it, pages it out and
    deletes it with the process.
    """

    def __init__(self, store: Store, plain: SomeRows, viewed: SomeRows, transform: Preprocessing, folder: str) -> None:
        num_views = store.identity.views
        self._rows = [np.sort(plain), *[np.sort(viewed)] * (num_views - 1)]
        self._starts = np.cumsum([0, *map(len, self._rows)])
        with tempfile.TemporaryFile(dir=folder) as file:
            self._pixels = np.memmap(file, np.uint8, "w+", shape=(int(self._starts[-1]), *transform.input_size))
        augment = (
            Augmentation(store.identity.augmentation, transform.resize_size) if store.identity.augmentation else None
        )
        with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decode") as executor:
            for view, rows in enumerate(self._rows):
                images = replace(images_of(store, rows, transform), augment=augment)
                for place, pixels in enumerate(_decoded(executor, images, view), int(self._starts[view])):
                    self._pixels[place] = pixels.numpy()

    def of(self, rows: Rows, views: Rows | None = None) -> UInt8[Tensor, "row 3 y x"]:
        """Return the pixels of `rows`, each in its view; `views` None means view 0 of every row."""
        positions = np.searchsorted(self._rows[0], rows)
        for view in range(1, len(self._rows)) if views is not None else ():
            of_view = views == view
            positions[of_view] = self._starts[view] + np.searchsorted(self._rows[view], rows[of_view])
        return torch.from_numpy(self._pixels[positions])


def _decoded(executor: ThreadPoolExecutor, images: Images, view: int) -> Iterator[UInt8[Tensor, "3 y x"]]:
    def pixels(place: int) -> UInt8[Tensor, "3 y x"] | str:
        return images.pixels(place, view)

    for place, found in enumerate(map_ahead(executor, pixels, range(len(images.samples)), NUM_AHEAD)):
        if isinstance(found, str):
            key = images.samples[place].key
            raise IcecoreError(f"{key!r}: {found}; the store has tokens of it, so the source has changed since")
        yield found
