"""The time of predictions: reading and decoding, the backbone, the adapters."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Timing:
    """Accumulated seconds of the backbone's forward passes and of the adapters, and the throughput of the whole."""

    def __init__(self, device: torch.device | str) -> None:
        self._device = torch.device(device)
        self._begin: float | None = None
        self._end = 0.0
        self.num_images = 0
        self.backbone_seconds = 0.0
        self.adapter_seconds = 0.0

    @property
    def images_per_second(self) -> float:
        """Images predicted per second from the first batch to the last, reading and decoding included."""
        return self.num_images / max(self._end - (self._begin or 0.0), 1e-9)

    @property
    def adapter_share(self) -> float:
        """Seconds of the adapters divided by seconds of the backbone."""
        return self.adapter_seconds / max(self.backbone_seconds, 1e-9)

    @contextmanager
    def batch(self, num_images: int) -> Iterator[None]:
        """Count `num_images` as predicted within the context."""
        self._begin = time.perf_counter() if self._begin is None else self._begin
        yield
        self.num_images += num_images
        self._end = time.perf_counter()

    @contextmanager
    def backbone(self) -> Iterator[None]:
        """Count the time of the context as the backbone's."""
        begin = self._now()
        yield
        self.backbone_seconds += self._now() - begin

    @contextmanager
    def adapters(self) -> Iterator[None]:
        """Count the time of the context as the adapters'."""
        begin = self._now()
        yield
        self.adapter_seconds += self._now() - begin

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()
