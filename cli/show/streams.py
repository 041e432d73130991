"""Standard output and error that accept every write: when closed, when a pipe's reader left, in any encoding.

A reader that left changes neither the work of a command nor its exit code. Any other failed write, such as to a full
disk, is an error.
"""

import codecs
import io
import os
import sys
from typing import TextIO

NARROW = {"–": "-", "—": "-", "×": "x", "·": ".", "…": "...", "★": "*", "→": "->", "█": "#", "≤": "<=", "≥": ">="}
NARROW |= dict.fromkeys("▏▎▍▌▋▊▉", "|")
BRAILLE = range(0x2800, 0x2900)  # the characters that spinners are drawn with


def open_streams() -> None:
    """Replace standard output and error by streams that accept every write; streams that a test has set stay."""
    _occupy()
    codecs.register_error("icecore", _in_ascii)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _safe(sys.stdout, 1)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _safe(sys.stderr, 2)


def is_heard() -> bool:
    """Return whether standard output still had a reader at the last write."""
    return getattr(sys.stdout, "is_heard", True)


def close_streams() -> None:
    """Flush standard output and error.

    Raises:
        OSError: a flush failed. The rest of the text is dropped, so that the interpreter's exit does not fail again.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            if isinstance(stream, _Stream):
                stream.give_up()
            raise


class _Stream(io.TextIOWrapper):
    """A text stream to a file descriptor of this process; text is dropped once the reader has left."""

    def __init__(self, number: int, encoding: str) -> None:
        self._raw = _Raw(number, "wb", closefd=False)
        is_terminal = self._raw.isatty()
        super().__init__(
            io.BufferedWriter(self._raw),  # pyright: ignore[reportArgumentType]
            encoding,
            "icecore",
            line_buffering=number == 2 or is_terminal,
        )

    @property
    def is_heard(self) -> bool:
        return not self._raw.is_cut

    def give_up(self) -> None:
        self._raw.is_cut = True
        self.flush()


class _Raw(io.FileIO):
    is_cut = False

    def write(self, data: "bytes | bytearray | memoryview", /) -> int:  # type: ignore[override]
        if self.is_cut:
            return len(data)
        try:
            return super().write(data)
        except BrokenPipeError:
            self.is_cut = True
            return len(data)


def _safe(stream: TextIO | None, number: int) -> TextIO:
    if stream is not None:
        stream.flush()
    return _Stream(number, stream.encoding if stream is not None else "utf-8")


def _occupy() -> None:
    """Open the null device in place of closed standard streams; else the next file opened would get their number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(null := os.open(os.devnull, os.O_RDWR), number)
            if null != number:
                os.close(null)


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that the encoding lacks: typography by ASCII, others by `\\uXXXX` as JSON and Python do."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_like, error.object[error.start : error.end])), error.end


def _like(character: str) -> str:
    if ord(character) in BRAILLE:
        return "*"
    pair = character.encode("utf-16-be", "surrogatepass").hex()
    return NARROW.get(character) or "".join(f"\\u{pair[i : i + 4]}" for i in range(0, len(pair), 4))
