"""The rules by which image files become pixels, as a store and a bundle record them. Opens no image."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, JsonValue, ValidationError

from icecore.store import Frozen, IdentityError


class Decoding(Frozen):
    """The rules by which a file becomes an 8-bit RGB image; a store records them among its preprocessing.

    A picture is turned upright as its EXIF says, and a transparent one is laid on the `background`. Of images with more
    than 8 bits a channel, the values LOW to HIGH of `range` become 0 to 255, whole numbers (`int`) and `float` apart;
    without a range those of the type: 0 to 65,535, or 0 to 1. `bands` chooses one or three channels, counted from 1.
    Of several frames it is the first. Colour profiles (ICC) are not applied, as in the training of the backbones.
    """

    orientation: Literal["applied"] = "applied"
    background: tuple[int, int, int] = (255, 255, 255)
    range: dict[Literal["int", "float"], tuple[float, float]] = Field(default_factory=dict)
    bands: tuple[int, ...] | None = None


DEFAULT = Decoding()


def recorded_decoding(preprocessing: Mapping[str, JsonValue]) -> Decoding | None:
    """Return the rules that a store or a bundle records; None where it is of a version that had none.

    Raises:
        IdentityError: rules that this version does not know.
    """
    recorded = preprocessing.get("decoding")
    try:
        return None if recorded is None else Decoding.model_validate(recorded)
    except ValidationError:
        raise IdentityError(f"decoding {recorded}: not known to this version; read it with a newer one") from None
