"""The channels of an image as numbers of any type, and which of them are colours."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Shaped

Values = Shaped[np.ndarray, "y x channel"]


@dataclass(frozen=True, slots=True)
class Channels:
    """The values of an image: first `num_colours` channels of grey or RGB, then alpha if present, then other bands."""

    values: Values
    num_colours: int  # 1 or 3; 0 where the file does not say which channels are colours
    has_alpha: bool = False
    is_inverted: bool = False  # the smallest value is white

    @property
    def kind(self) -> Literal["int", "float"] | None:
        """Whether the values are `int` or `float`; None for bytes and booleans, whose range is fixed."""
        if self.values.dtype in (np.uint8, np.bool_):
            return None
        return "float" if self.values.dtype.kind == "f" else "int"

    @property
    def type_range(self) -> tuple[float, float]:
        """The values of black and white by the type: the full range of integers, 0 to 1 for floats."""
        dtype = self.values.dtype
        return (0.0, 1.0) if dtype.kind in "fb" else (float(np.iinfo(dtype).min), float(np.iinfo(dtype).max))

    @property
    def colours(self) -> Values:
        """The channels of grey or RGB.

        Raises:
            ValueError: the file does not say which channels are colours, or a value is NaN or infinite.
        """
        if not self.num_colours:
            raise ValueError(f"has {self.values.shape[2]} bands, none of them a colour; choose by --bands, as in 4,3,2")
        colours = self.values[..., : self.num_colours]
        num_bad = 0 if colours.dtype.kind != "f" else colours.size - int(np.isfinite(colours).sum())
        if num_bad:
            raise ValueError(f"{num_bad} of {colours.size} values are NaN or infinite; expected finite ones")
        return colours

    def chosen(self, bands: tuple[int, ...]) -> "Channels":
        """Return one band as grey or three as RGB; bands count from 1.

        Raises:
            ValueError: the image has fewer bands.
        """
        num_bands = self.values.shape[2]
        if max(bands) > num_bands:
            raise ValueError(f"has {num_bands} bands; band {max(bands)} is asked for")
        return Channels(self.values[..., [band - 1 for band in bands]], len(bands), is_inverted=self.is_inverted)
