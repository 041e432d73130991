"""The errors that users see; each message is one line: what is wrong, what was expected, where, and what to do."""


class IcecoreError(Exception):
    """The base of all errors: something is wrong in data, in a store or in a run. `exit_code` is the command's."""

    exit_code = 1


class UsageError(IcecoreError):
    """The request itself is wrong: an unknown name, a malformed option, a missing path."""

    exit_code = 2


class IdentityError(IcecoreError):
    """A store was made from another backbone, data set or layout than the request names."""


class IncompleteError(IcecoreError):
    """The request needs rows, layers or views that the ledger of the store does not list."""


class IntegrityError(IcecoreError):
    """Bytes on disk differ from the bytes that were written."""


class LockedError(IcecoreError):
    """Another live process is writing the store."""
