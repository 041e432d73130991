"""What is in memory at a time: a few batches of tokens, however many rows and cores there are."""

import threading
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from icecore.extract import Backbone, ExtractSettings, extract
from icecore.extract.job import job
from icecore.extract.job.threads import MOST_RUNNING, Threads

from ..conftest import BACKBONE, make_folder

CPU, CUDA, MPS = map(torch.device, ("cpu", "cuda", "mps"))
NUM_ROWS = 61


@pytest.mark.parametrize(("num_cores", "num_running", "cores_each"), [(1, 1, 1), (2, 2, 1), (4, 4, 1), (64, 4, 16)])
def test_a_cpu_runs_a_few_batches_at_a_time_and_uses_all_cores(
    num_cores: int, num_running: int, cores_each: int
) -> None:
    threads = Threads.of(CPU, num_cores)
    assert (threads.num_decoding, threads.num_running, threads.cores_each) == (num_cores, num_running, cores_each)


@pytest.mark.parametrize("device", [CUDA, MPS])
def test_another_device_runs_one_batch_after_another(device: torch.device) -> None:
    few, many = Threads.of(device, 2), Threads.of(device, 64)
    assert (few.num_running, few.num_ahead) == (many.num_running, many.num_ahead) == (1, 2)
    assert many.num_decoding == 64


def test_a_number_of_threads_is_taken_at_its_word() -> None:
    assert Threads.of(CPU, 64, 8) == Threads(num_decoding=8, num_running=8, cores_each=8)
    assert Threads.of(CUDA, 64, 8) == Threads(num_decoding=8, num_running=1, cores_each=64)


class Alive:
    """Counts tensors that a function has returned and that somebody still holds, and the most there ever were."""

    def __init__(self) -> None:
        self.now = self.most = self.total = 0
        self._lock = threading.Lock()

    def add(self, tensor: Tensor) -> None:
        with self._lock:
            self.now, self.total = self.now + 1, self.total + 1
            self.most = max(self.most, self.now)
        weakref.finalize(tensor, self._drop)

    def _drop(self) -> None:
        with self._lock:
            self.now -= 1


@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
def test_tokens_of_a_few_batches_are_alive_however_many_cores_there_are(
    device: torch.device, checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive = Alive()
    forward = Backbone.forward

    def counting(self: Backbone, images: Tensor, layers: Sequence[int]) -> dict[int, Tensor]:
        tokens = forward(self, images, layers)
        alive.add(tokens[1])
        return tokens

    of: Callable[..., Threads] = Threads.of
    monkeypatch.setattr(Backbone, "forward", counting)
    monkeypatch.setattr(job, "num_usable_cores", lambda: 64)
    monkeypatch.setattr(Threads, "of", staticmethod(lambda _, *cores: of(device, *cores)))
    settings = ExtractSettings(
        backbone=BACKBONE, checkpoint=checkpoint, device="cpu", layers="0,1", batch_size=2, shard_rows=16
    )
    source = make_folder(tmp_path / "images", NUM_ROWS)
    extract(source, str(tmp_path / "s.ice"), settings, lambda _: time.sleep(0.02))  # slower than the forward
    assert alive.total == 4 * 8 - 1
    assert alive.most <= (MOST_RUNNING if device == CPU else 1) + 2
    assert alive.now == 0
