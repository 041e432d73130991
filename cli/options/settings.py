"""Settings of a stage from command-line options or YAML values. Knows no default of any stage."""

import difflib
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)


def settings_of(model: type[Model], given: Mapping[str, Any]) -> Model:
    """Return a stage's settings from the options of a command; an option that is None keeps the model's default."""
    options = {name: value for name, value in given.items() if name in model.model_fields and value is not None}
    return parse_settings(model, options, lambda key: f"--{key.replace('_', '-')}")


def require_effect(given: Mapping[str, Any], names: Iterable[str], why: str) -> None:
    """Raise UsageError if any of the options `names` was given; `why` completes "--name: has no effect"."""
    from icecore.store import UsageError

    for name in names:
        if given[name] not in (None, False):
            raise UsageError(f"--{name.replace('_', '-')}: has no effect {why}; leave it out")


def parse_settings(model: type[Model], values: Mapping[str, Any], label: Callable[[str], str]) -> Model:
    """Return values as a settings model; comma lists become tuples. `label` names a key as the user wrote it.

    Raises:
        UsageError: an unknown key, or a value that the model does not accept.
    """
    from icecore.store import UsageError, validation_message

    for key in values:
        if key not in model.model_fields:
            raise UsageError(f"{label(key)}: unknown key{nearest(key, model.model_fields)}")
    try:
        return model.model_validate({key: _split(model, key, value, label) for key, value in values.items()})
    except ValidationError as error:
        message = validation_message(error, lambda path: label(path.partition(".")[0]) if path else "settings")
        raise UsageError(message) from None


def nearest(key: str, known: Iterable[str]) -> str:
    """Return a suggestion for a misspelt key: the nearest known key, and the list of all.

    >>> nearest("epoch", ["epochs", "lr"])
    " (did you mean 'epochs'?); known: epochs, lr"
    """
    known = list(known)
    near = difflib.get_close_matches(key, known, n=1)
    return (f" (did you mean {near[0]!r}?)" if near else "") + f"; known: {', '.join(known)}"


def _split(model: type[BaseModel], key: str, value: Any, label: Callable[[str], str]) -> Any:
    """Return a comma list as a tuple where the field holds several values, else the value."""
    wanted = model.model_fields[key].annotation
    several = tuple in (typing.get_origin(each) for each in (wanted, *typing.get_args(wanted)))
    if not several or not isinstance(value, str):
        return value
    parts = tuple(part.strip() for part in value.split(","))
    if "" in parts:
        from icecore.store import UsageError

        raise UsageError(f"{label(key)}: got {value!r}: one of its values is empty; expected them with commas between")
    return parts
