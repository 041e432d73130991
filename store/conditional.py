"""Putting one object only while it is as it was last seen: the step that lets exactly one of several contenders win.

S3 has it for any state of an object (If-None-Match, If-Match). Of other file systems fsspec knows creation alone, which
Google Cloud Storage does in one step and some do in two; they replace unconditionally.
"""

from typing import Any


class SupersededError(Exception):
    """The object is not, or no longer, as it was expected to be; nothing was put."""


def is_conditional(filesystem: Any) -> bool:
    """Say whether an object can be replaced only while it is as it was."""
    protocols = filesystem.protocol
    return "s3" in ((protocols,) if isinstance(protocols, str) else protocols)


def tag(filesystem: Any, path: str) -> str | None:
    """Return what stands for the present state of an object; None where there is no object or no tag."""
    if not is_conditional(filesystem):
        return None
    try:
        return filesystem.info(path, refresh=True).get("ETag")
    except FileNotFoundError:
        return None


def put(filesystem: Any, path: str, data: bytes, expected: str | None, is_new: bool) -> str | None:
    """Put an object that is new, or as the expected tag says, and return its tag; else SupersededError."""
    if is_conditional(filesystem):
        return _put_s3(filesystem, path, data, {"IfNoneMatch": "*"} if is_new else {"IfMatch": expected})
    try:
        filesystem.pipe_file(path, data, mode="create") if is_new else filesystem.pipe_file(path, data)
    except FileExistsError:
        raise SupersededError from None
    except TypeError:  # a file system that knows no modes
        filesystem.pipe_file(path, data)
    return None


def _put_s3(filesystem: Any, path: str, data: bytes, condition: dict[str, str | None]) -> str | None:
    bucket, key, _ = filesystem.split_path(path)
    try:
        return filesystem.call_s3("put_object", Bucket=bucket, Key=key, Body=data, **condition)["ETag"]
    except FileNotFoundError:
        if "IfNoneMatch" in condition:
            raise  # it is the bucket that is not there
        raise SupersededError from None
    except OSError as error:
        response = getattr(error.__cause__, "response", None) or {}
        if response.get("Error", {}).get("Code") == "PreconditionFailed":
            raise SupersededError from None
        raise
