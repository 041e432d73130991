"""Merging groups in proportion, so that a part of a data set looks like the whole."""

from collections.abc import Sequence


def in_proportion(groups: Sequence[Sequence[int]]) -> list[int]:
    """Merge groups, each in its own order: the first n of the result hold of every group its share of n, whatever n is.

    The first of every group comes before the second of any, the largest group's first.
    """
    ranked = [
        (rank > 0, (rank + 0.5) / len(group), number, place)
        for number, group in enumerate(groups)
        for rank, place in enumerate(group)
    ]
    return [place for *_, place in sorted(ranked)]
