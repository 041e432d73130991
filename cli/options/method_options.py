"""Options of in-backbone methods from `--option METHOD.NAME=VALUE`."""

from collections.abc import Sequence

from pydantic import JsonValue

from .settings import parse_settings


def method_options(words: Sequence[str] | None) -> dict[str, dict[str, JsonValue]] | None:
    """Return options by method from `METHOD.NAME=VALUE` words, None without words; UsageError for a wrong word."""
    from icecore.live.finetune.methods import get_method
    from icecore.store import UsageError

    found: dict[str, dict[str, str]] = {}
    for word in words or ():
        where, _, value = word.partition("=")
        method, _, name = where.partition(".")
        if not (method and name and value):
            raise UsageError(f"--option {word!r}: expected METHOD.NAME=VALUE, such as lora.rank=8")
        found.setdefault(method, {})[name] = value
    return {method: _validated(method, get_method(method), given) for method, given in found.items()} or None


def _validated(method: str, kind: type, given: dict[str, str]) -> dict[str, JsonValue]:
    parsed = parse_settings(kind, given, lambda name: f"--option {method}.{name}")
    return parsed.model_dump(mode="json", exclude_unset=True)
