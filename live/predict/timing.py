"""Where the time of predictions goes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Timing:
    """Seconds so far: of the whole, of the backbone's forward, and of the adapters after it."""

    def __init__(self, device: torch.device | str) -> None:
        self._device = torch.device(device)
        self._begin: float | None = None
        self._end = 0.0
        self.num_images = 0
        self.backbone_seconds = 0.0
        self.adapter_seconds = 0.0

    @property
    def images_per_second(self) -> float:
        """From the first image asked for to the last answer: reading and decoding are in it."""
        return self.num_images / max(self._end - (self._begin or 0.0), 1e-9)

    @property
    def adapter_share(self) -> float:
        """What the adapters take, as a share of the backbone's forward."""
        return self.adapter_seconds / max(self.backbone_seconds, 1e-9)

    @contextmanager
    def batch(self, num_images: int) -> Iterator[None]:
        """Count images that are answered in this context."""
        self._begin = time.perf_counter() if self._begin is None else self._begin
        yield
        self.num_images += num_images
        self._end = time.perf_counter()

    @contextmanager
    def backbone(self) -> Iterator[None]:
        """Count what is done in this context as the backbone's."""
        begin = self._now()
        yield
        self.backbone_seconds += self._now() - begin

    @contextmanager
    def adapters(self) -> Iterator[None]:
        """Count what is done in this context as the adapters'."""
        begin = self._now()
        yield
        self.adapter_seconds += self._now() - begin

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()
