"""Putting one object only while it is as it was last seen: the step that lets exactly one of several contenders win.

S3 has it by an object's ETag (If-None-Match, If-Match), Google Cloud Storage by its generation. Of other file systems
fsspec knows creation alone, which some do in one step and some in two; they replace unconditionally.
"""

from typing import Any, Protocol, runtime_checkable


class SupersededError(Exception):
    """The object is not, or no longer, as it was expected to be; nothing was put."""


@runtime_checkable
class _Conditional(Protocol):
    def tag(self, filesystem: Any, path: str) -> str:
        """Return what stands for the present state of an object; FileNotFoundError where there is none."""
        ...

    def put(self, filesystem: Any, path: str, data: bytes, expected: str | None) -> str:
        """Put an object over the one of a tag, None for no object, and return its tag; else SupersededError."""
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
                raise  # it is the bucket that is not there
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
    """Say whether an object can be replaced only while it is as it was."""
    return _of(filesystem) is not None


def tag(filesystem: Any, path: str) -> str | None:
    """Return what stands for the present state of an object; None where there is no object or no tag."""
    conditional = _of(filesystem)
    try:
        return None if conditional is None else conditional.tag(filesystem, path)
    except FileNotFoundError:
        return None


def put(filesystem: Any, path: str, data: bytes, expected: str | None, is_new: bool) -> str | None:
    """Put an object that is new, or as the expected tag says, and return its tag; else SupersededError."""
    conditional = _of(filesystem)
    if conditional is not None:
        if not is_new and expected is None:
            raise SupersededError  # it was there, and is gone
        return conditional.put(filesystem, path, data, None if is_new else expected)
    try:
        filesystem.pipe_file(path, data, mode="create") if is_new else filesystem.pipe_file(path, data)
    except FileExistsError:
        raise SupersededError from None
    except TypeError:  # a file system that knows no modes
        filesystem.pipe_file(path, data)
    return None


def _of(filesystem: Any) -> _Conditional | None:
    protocols = filesystem.protocol
    names = (protocols,) if isinstance(protocols, str) else protocols
    return next((PROTOCOLS[name] for name in names if name in PROTOCOLS), None)
