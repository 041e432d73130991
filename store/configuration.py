"""The base of every configuration model, immutable and without unknown keys; and settings as command-line options."""

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

Model = TypeVar("Model", bound="Frozen")
ComputeDtype = Literal["auto", "float32", "bfloat16"]


class Frozen(BaseModel):
    """A configuration value: cannot change once made, refuses keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def model_copy(self: Model, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Model:
        """Return a copy with some fields changed; unlike pydantic's, it refuses fields that the model does not have."""
        if unknown := {*(update or ())} - {*type(self).model_fields}:
            raise ValueError(f"{type(self).__name__} has no field {min(unknown)!r} to change")
        return super().model_copy(update=update, deep=deep)


def option_words(values: Mapping[str, Any]) -> list[str]:
    """Return settings as the options of a command line: True as `--name`, False as `--no-name`, a list with commas.

    >>> option_words({"batch_size": 8, "layers": [0, 3], "strict": True})
    ['--batch-size', '8', '--layers', '0,3', '--strict']
    """
    words: list[str] = []
    for key, value in values.items():
        name = key.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        else:
            words += [f"--{name}", ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)]
    return words
