"""Stored tokens as batches: read from the store or held in memory, in an order that depends on the seed alone.

Three kinds of integers number rows here, and in `icecore.store.LayerReader`; every name says which one it holds:

    row           index of a row in the store
    sample index  index of a pair (row, view) in a feed of `num_rows` rows: `row_index + num_rows * view`,
                  with `rows[row_index]` the row
    buffer index  index along the first axis of arrays in memory, where a row was read to

    feed.rows = [2, 5, 9], two views         sample index    0    1    2    3    4    5
                                             row, view      2,0  5,0  9,0  2,1  5,1  9,1

    a buffer of three rows after reading     buffer index    0    1    2
    samples [4, 0] to buffer indices [0, 2]  holds          5,1   -   2,0

The room knows nothing of adapters. It may import `modules` and `targets`.
"""

from icecore.store import lazy_package

lazy_package(__name__)
