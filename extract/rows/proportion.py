"""Merges groups in proportion, so that any first part of the result has the shares of the whole."""

from collections.abc import Sequence


def in_proportion(groups: Sequence[Sequence[int]]) -> list[int]:
    """Merge groups, so that the first n items hold every group's share of n, for any n; groups keep their order.

    >>> in_proportion([[1, 2, 3, 4], [10, 20]])
    [1, 10, 2, 3, 20, 4]

    The first item of every group comes before the second item of any group.
    """
    ranked = [
        (rank > 0, (rank + 0.5) / len(group), number, item)
        for number, group in enumerate(groups)
        for rank, item in enumerate(group)
    ]
    return [item for *_, item in sorted(ranked)]
