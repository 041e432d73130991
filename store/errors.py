"""The one family of errors that users see: a single line that says what, what was expected, where, and what to do."""


class IcecoreError(Exception):
    """Something found wrong in data, a store or a run."""

    exit_code = 1


class UsageError(IcecoreError):
    """A request that cannot be meant: an unknown name, a malformed option, a missing path."""

    exit_code = 2


class IdentityError(IcecoreError):
    """A store made by another backbone, data set or layout than the one asked for."""


class IncompleteError(IcecoreError):
    """Rows, layers or views that the ledger does not cover."""


class IntegrityError(IcecoreError):
    """Bytes on disk that are not the bytes that were written."""


class LockedError(IcecoreError):
    """A store that another live process is writing."""
