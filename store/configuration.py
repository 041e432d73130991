"""The base of every configuration model: immutable, and an unknown key is an error."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

Model = TypeVar("Model", bound="Frozen")


class Frozen(BaseModel):
    """A configuration value: cannot change once made, refuses keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def model_copy(self: Model, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Model:
        """Return a copy with some fields changed; unlike pydantic's, it refuses fields that the model does not have."""
        if unknown := {*(update or ())} - {*type(self).model_fields}:
            raise ValueError(f"{type(self).__name__} has no field {min(unknown)!r} to change")
        return super().model_copy(update=update, deep=deep)
