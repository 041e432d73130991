"""The public names of `icecore.train.modules`, by module; each is imported when it is first asked for."""

from .device import measure_peak, on_device

__all__ = [
    "measure_peak",
    "on_device",
]
