"""Other people's readers open a store as it is."""

import multiprocessing
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from icecore.store import LayerDataset, open_store


def test_tensorstore_reads_bfloat16_bit_exactly(full: Callable[..., str], tokens: dict[int, Tensor]) -> None:
    tensorstore = pytest.importorskip("tensorstore")
    url = full(dtype="bfloat16")
    path = str(Path(url).resolve() / "layers/03/values")
    array = tensorstore.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": path}}).result()
    bits = np.asarray(array[0].read().result())
    assert array.domain.labels == ("view", "row", "token", "width")
    assert torch.equal(torch.from_numpy(bits).view(torch.bfloat16), tokens[3].to(torch.bfloat16))


@pytest.mark.filterwarnings("ignore:Object at .* is not recognized as a component of a Zarr hierarchy")
def test_xarray_opens_a_store_with_named_dimensions(full: Callable[..., str], tokens: dict[int, Tensor]) -> None:
    xarray = pytest.importorskip("xarray")
    url = full(dtype="int8")
    data = xarray.open_zarr(url, group="layers/03", consolidated=False)
    assert data["values"].dims == ("view", "row", "token", "width")
    assert data["scale"].dims == ("view", "row", "token")
    tokens_again = (data["values"] * data["scale"]).isel(view=0).to_numpy()
    assert float(np.abs(tokens_again - tokens[3].numpy()).max()) < 0.03
    assert xarray.open_zarr(url, consolidated=False).attrs["icecore"]["format"] == 1


def test_a_dataset_for_people_with_their_own_loop(full: Callable[..., str], tokens: dict[int, Tensor]) -> None:
    data = LayerDataset(open_store(full()), 3, "train")
    loader = DataLoader(data, batch_size=32, shuffle=True, generator=torch.Generator().manual_seed(0))
    seen = 0
    for batch, labels in loader:
        assert batch.shape[1:] == (17, 24)
        seen += len(labels)
    assert seen == len(data) == 162
    values, label = data[5]
    assert torch.equal(values, tokens[3][data.rows[5]])
    assert label == data.rows[5] % 3


def test_reading_needs_no_zarr(full: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    url = full()
    for name in [name for name in sys.modules if name.split(".")[0] == "zarr"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert open_store(url).layer(0).rows(slice(0, 3)).shape == (3, 17, 24)


def _read(url: str, answers) -> None:
    torch.set_num_threads(1)  # the parent's thread pool does not survive a fork
    answers.put(float(open_store(url).layer(3).rows(slice(None)).sum()))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_store_is_read_after_a_fork_as_before(full: Callable[..., str]) -> None:
    url = full()
    exact = float(open_store(url).layer(3).rows(slice(None)).sum())
    context: Any = multiprocessing.get_context("fork")
    answers = context.Queue()
    reader = context.Process(target=_read, args=(url, answers))
    reader.start()
    assert answers.get(timeout=120) == pytest.approx(exact, rel=1e-4)
    reader.join()
