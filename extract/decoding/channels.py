"""The channels of an image as numbers of any type, and what they mean as a picture."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Shaped

Values = Shaped[np.ndarray, "y x channel"]


@dataclass(frozen=True, slots=True)
class Channels:
    """Numbers, and how they mean a picture: grey or RGB, then alpha if there is one, then what else."""

    values: Values
    num_colours: int  # 1 or 3; 0 where nothing says which channels are a picture
    has_alpha: bool = False
    is_inverted: bool = False  # the smallest value is white

    @property
    def kind(self) -> Literal["int", "float"] | None:
        """Say whether the numbers are `int` or `float`; None where they are bytes, whose range is always their own."""
        if self.values.dtype in (np.uint8, np.bool_):
            return None
        return "float" if self.values.dtype.kind == "f" else "int"

    @property
    def type_range(self) -> tuple[float, float]:
        """Black and white by the type: all values of a whole number, 0 to 1 of a float."""
        dtype = self.values.dtype
        return (0.0, 1.0) if dtype.kind in "fb" else (float(np.iinfo(dtype).min), float(np.iinfo(dtype).max))

    @property
    def colours(self) -> Values:
        """The channels of the picture.

        Raises:
            ValueError: nobody says which they are, or some of their values are no numbers.
        """
        if not self.num_colours:
            raise ValueError(f"has {self.values.shape[2]} bands, none of them a colour; choose by --bands, as in 4,3,2")
        colours = self.values[..., : self.num_colours]
        num_bad = 0 if colours.dtype.kind != "f" else colours.size - int(np.isfinite(colours).sum())
        if num_bad:
            raise ValueError(f"{num_bad} of {colours.size} values are NaN or infinite; expected finite ones")
        return colours

    def chosen(self, bands: tuple[int, ...]) -> "Channels":
        """Return some bands, counted from 1, as grey or as RGB; ValueError where the image has fewer."""
        num_bands = self.values.shape[2]
        if max(bands) > num_bands:
            raise ValueError(f"has {num_bands} bands; band {max(bands)} is asked for")
        return Channels(self.values[..., [band - 1 for band in bands]], len(bands), is_inverted=self.is_inverted)
