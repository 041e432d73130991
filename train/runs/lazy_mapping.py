"""A mapping that loads each value on access and caches none, for tensors that do not fit in memory together."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

V = TypeVar("V")


class LazyMapping(Mapping[str, V]):
    """A mapping from `keys` to values that `load` makes from the key, anew on every access."""

    def __init__(self, keys: Iterable[str], load: Callable[[str], V]) -> None:
        self._keys = dict.fromkeys(keys)
        self._load = load

    def __getitem__(self, key: str) -> V:
        """Load the value of a key."""
        if key not in self._keys:
            raise KeyError(key)
        return self._load(key)

    def __contains__(self, key: object) -> bool:
        """Return whether a key exists, without loading its value."""
        return key in self._keys

    def __iter__(self) -> Iterator[str]:
        """Iterate over the keys, in order."""
        return iter(self._keys)

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self._keys)


def chained(mappings: Iterable[Mapping[str, V]]) -> LazyMapping[V]:
    """Return several mappings, which share no key, as one lazy mapping."""
    owner = {key: mapping for mapping in mappings for key in mapping}
    return LazyMapping(owner, lambda key: owner[key][key])
