"""One layer of a store as a PyTorch data set, for a training loop of your own."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from .reader import Store


class LayerDataset(Dataset[tuple[Tensor, int]]):
    """The (tokens, label) pairs of one layer and split; a DataLoader reads each batch in one call.

    Tokens have shape (token, width) and type `dtype`. A shuffled batch reads a whole chunk for every row: for a store
    larger than the page cache, pass a sampler that keeps neighbouring rows together.
    """

    def __init__(self, store: Store, layer: int, split: str, view: int = 0, dtype: torch.dtype = torch.float32) -> None:
        self._reader = store.layer(layer)
        self._labels = store.labels
        self._view = view
        self._dtype = dtype
        self.rows = store.rows(split)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Float[Tensor, "token width"], int]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Float[Tensor, "token width"], int]]:
        rows = self.rows[list(indices)]
        tokens = self._reader.rows(rows, self._view, self._dtype)
        return list(zip(tokens, self._labels[rows].tolist(), strict=True))
