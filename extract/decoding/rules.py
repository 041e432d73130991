"""The rules by which image files become pixels, as stores and bundles record them. Opens no image."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, JsonValue, ValidationError

from icecore.store import Frozen, IdentityError


class Decoding(Frozen):
    """The rules by which a file becomes an 8-bit RGB image; a store records them in its preprocessing.

    An image is turned upright by its EXIF orientation, and laid on the colour `background` (R, G, B) where it is
    transparent. In images of more than 8 bits a channel the values LOW to HIGH become 0 to 255; `range` gives LOW and
    HIGH for `int` and for `float`, or else the type does (0 to 65,535, or 0 to 1). `bands` chooses one or three
    channels, counted from 1. Of several frames the first is read. ICC profiles are not applied, as in the training
    of the backbones.
    """

    orientation: Literal["applied"] = "applied"
    background: tuple[int, int, int] = (255, 255, 255)
    range: dict[Literal["int", "float"], tuple[float, float]] = Field(default_factory=dict)
    bands: tuple[int, ...] | None = None


DEFAULT = Decoding()


def recorded_decoding(preprocessing: Mapping[str, JsonValue]) -> Decoding | None:
    """Return the rules in the preprocessing of a store or bundle; None where a version without rules made it.

    Raises:
        IdentityError: this version does not know the rules.
    """
    recorded = preprocessing.get("decoding")
    try:
        return None if recorded is None else Decoding.model_validate(recorded)
    except ValidationError:
        raise IdentityError(f"decoding {recorded}: not known to this version; read it with a newer one") from None
