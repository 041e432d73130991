"""Conditional puts (compare and swap) on object stores: of several contenders for one object, exactly one succeeds.

S3 compares ETags (If-None-Match, If-Match), Google Cloud Storage generations. For other file systems fsspec offers only
exclusive creation, which is atomic on some of them alone; replacing an object is unconditional there.
"""

from typing import Any, Protocol, runtime_checkable


class SupersededError(Exception):
    """The object differs from the expected version; nothing was put."""


@runtime_checkable
class _Conditional(Protocol):
    def tag(self, filesystem: Any, path: str) -> str:
        """Return the version tag of an object; FileNotFoundError where there is no object."""
        ...

    def put(self, filesystem: Any, path: str, data: bytes, expected: str | None) -> str:
        """Replace the version `expected` (None: create) and return the new tag; SupersededError on a mismatch."""
        ...


class _S3:
    def tag(self, filesystem: Any, path: str) -> str:
        return filesystem.info(path, refresh=True)["ETag"]

    def put(self, filesystem: Any, path: str, data: bytes, expected: str | None) -> str:
        bucket, key, _ = filesystem.split_path(path)
        condition = {"IfNoneMatch": "*"} if expected is None else {"IfMatch": expected}
        try:
            return filesystem.call_s3("put_object", Bucket=bucket, Key=key, Body=data, **condition)["ETag"]
        except FileNotFoundError:
            if expected is None:
                raise  # the bucket is missing
            raise SupersededError from None
        except OSError as error:
            response = getattr(error.__cause__, "response", None) or {}
            if response.get("Error", {}).get("Code") == "PreconditionFailed":
                raise SupersededError from None
            raise


class _GoogleCloudStorage:
    def tag(self, filesystem: Any, path: str) -> str:
        bucket, key, _ = filesystem.split_path(path)
        return filesystem.call("GET", "b/{}/o/{}", bucket, key, json_out=True)["generation"]

    def put(self, filesystem: Any, path: str, data: bytes, expected: str | None) -> str:
        bucket, key, _ = filesystem.split_path(path)
        try:
            made = filesystem.call(
                "POST",
                f"{filesystem._location}/upload/storage/v1/b/{bucket}/o",
                uploadType="media",
                name=key,
                ifGenerationMatch="0" if expected is None else expected,
                headers={"Content-Type": "application/json"},
                data=data,
                json_out=True,
            )
        except FileExistsError:
            raise SupersededError from None
        return made["generation"]


PROTOCOLS: dict[str, _Conditional] = {"s3": _S3(), "gs": _GoogleCloudStorage()}


def is_conditional(filesystem: Any) -> bool:
    """Say whether the file system has conditional puts."""
    return _of(filesystem) is not None


def tag(filesystem: Any, path: str) -> str | None:
    """Return the version tag of an object; None where there is no object, or the file system has no tags."""
    conditional = _of(filesystem)
    try:
        return None if conditional is None else conditional.tag(filesystem, path)
    except FileNotFoundError:
        return None


def put(filesystem: Any, path: str, data: bytes, expected: str | None, is_new: bool) -> str | None:
    """Create an object (`is_new`) or replace the version `expected`, and return the new tag, None without tags.

    Raises:
        SupersededError: the object exists though it should be new, or has another version.
    """
    conditional = _of(filesystem)
    if conditional is not None:
        if not is_new and expected is None:
            raise SupersededError  # the object was there and is gone
        return conditional.put(filesystem, path, data, None if is_new else expected)
    try:
        filesystem.pipe_file(path, data, mode="create") if is_new else filesystem.pipe_file(path, data)
    except FileExistsError:
        raise SupersededError from None
    except TypeError:  # this file system has no exclusive creation
        filesystem.pipe_file(path, data)
    return None


def _of(filesystem: Any) -> _Conditional | None:
    protocols = filesystem.protocol
    names = (protocols,) if isinstance(protocols, str) else protocols
    return next((PROTOCOLS[name] for name in names if name in PROTOCOLS), None)
