"""A summary of a scanned source: rows found, files passed over, oddities. It is no part of the identity."""

from ..configuration import Frozen


class Finding(Frozen):
    """A group of rows or files: `what` they have in common, their number, and the first as an example."""

    what: str
    count: int
    example: str


class SourceReport(Frozen):
    """Counts of the rows and files of a source.

    `splits` counts the rows of each split; `passed_over` counts files, archive members or lines that became no row, by
    reason; `noted` counts rows about which the user should know something, such as a guessed split.
    """

    num_rows: int
    splits: tuple[Finding, ...] = ()
    passed_over: tuple[Finding, ...] = ()
    noted: tuple[Finding, ...] = ()
