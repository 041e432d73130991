"""What a source held and what it left out: facts that a store records beside its identity."""

from ..configuration import Frozen


class Finding(Frozen):
    """Rows or files that have one thing in common: in words what, how many, and the first of them."""

    what: str
    count: int
    example: str


class SourceReport(Frozen):
    """What a source held.

    `splits` counts the rows of each split; `passed_over` counts files, members or lines that became no row, by reason;
    `noted` counts what became a row in a way that the user should know of.
    """

    num_rows: int
    splits: tuple[Finding, ...] = ()
    passed_over: tuple[Finding, ...] = ()
    noted: tuple[Finding, ...] = ()
