"""A mapping whose values are read when they are asked for, and not kept: for more than memory holds."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

V = TypeVar("V")


class LazyMapping(Mapping[str, V]):
    """Some keys, and how the value of each is made."""

    def __init__(self, keys: Iterable[str], load: Callable[[str], V]) -> None:
        self._keys = dict.fromkeys(keys)
        self._load = load

    def __getitem__(self, key: str) -> V:
        """Make a value."""
        if key not in self._keys:
            raise KeyError(key)
        return self._load(key)

    def __contains__(self, key: object) -> bool:
        """Say whether there is a key, without its value."""
        return key in self._keys

    def __iter__(self) -> Iterator[str]:
        """Walk through the keys."""
        return iter(self._keys)

    def __len__(self) -> int:
        """Count the keys."""
        return len(self._keys)


def chained(mappings: Iterable[Mapping[str, V]]) -> LazyMapping[V]:
    """Return several mappings, which share no key, as one."""
    owner = {key: mapping for mapping in mappings for key in mapping}
    return LazyMapping(owner, lambda key: owner[key][key])
