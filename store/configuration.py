"""The base of every configuration model, settings as options, and why a value does not fit a model, in one line."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

Model = TypeVar("Model", bound="Frozen")
ComputeDtype = Literal["auto", "float32", "bfloat16"]

MAX_VALUE_CHARACTERS = 200  # a whole document is of no help in a message of one line


class Frozen(BaseModel):
    """A configuration value: immutable once made; a key that is not a field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def model_copy(self: Model, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Model:
        """Return a copy with the fields in `update` changed; `deep` copies nested values too.

        Raises:
            ValueError: `update` names a field that the model does not have (pydantic's own method would add it).
        """
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


def validation_message(error: ValidationError, label: Callable[[str], str] = str) -> str:
    """Return the first fault of a ValidationError as one line: the field, the value, and the values expected.

    `label` turns the dotted path of a field, "" for the model as a whole, into the words that a user knows it by.

    Example:
        >>> class Grid(Frozen):
        ...     rates: tuple[float, ...]
        >>> try:
        ...     Grid(rates=(0.1, "fast"))
        ... except ValidationError as error:
        ...     validation_message(error)
        "rates.1: got 'fast': expected a valid number, unable to parse string as a number"
    """
    first = error.errors(include_url=False)[0]
    path = ".".join(map(str, first["loc"]))
    field = label(path) or "the document"
    if first["type"] == "missing":
        return f"{field} is required"
    if first["type"] == "extra_forbidden":
        return f"{field}: unknown key"
    expected = first["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    value = first["input"]
    if isinstance(value, tuple) and all(isinstance(part, str) for part in value):
        value = ",".join(value)  # as it is written in an option
    shown = f"got {value!r}: " if path and len(repr(value)) <= MAX_VALUE_CHARACTERS else ""
    return f"{field}: {shown}{expected}"
