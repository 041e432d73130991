"""The `icecore` command: its list of commands, and how errors become one line and an exit code.

Knows nothing of what the commands do: each imports its stage when it runs, so that help and usage errors are quick.
"""

import errno
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from .commands.compare import compare
from .commands.export import export
from .commands.extract import extract
from .commands.inspect import inspect
from .commands.intrinsic import intrinsic
from .commands.predict import predict
from .commands.report import report
from .commands.run import run
from .commands.score import score
from .commands.select import select
from .commands.train import train
from .commands.verify import verify
from .options.stage_command import stage_command
from .show.interrupt import INTERRUPTED
from .show.streams import close_streams, open_streams

FAILED, WRONG_USAGE = 1, 2
NEAR = 20  # characters shown on either side of one that is not UTF-8
FULL = (errno.ENOSPC, errno.EDQUOT)

app = typer.Typer(name="icecore", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command(cls=stage_command("icecore.extract", "ExtractSettings"))(extract)
app.command()(inspect)
app.command()(verify)
app.command(cls=stage_command("icecore.train", "ScoreSettings"))(score)
app.command(cls=stage_command("icecore.train", "TrainSettings"))(train)
app.command(cls=stage_command("icecore.train", "SelectSettings"))(select)
app.command()(report)
app.command()(predict)
app.command()(export)
app.command(cls=stage_command("icecore.live", "CompareSettings"))(compare)
app.command(cls=stage_command("icecore.live", "IntrinsicSettings"))(intrinsic)
app.command()(run)


def _print_version(wanted: bool) -> bool:
    if wanted:
        sys.stdout.write(f"icecore {version('icecore')}\n")
        raise typer.Exit
    return wanted


@app.callback()
def icecore(
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version of icecore and exit."
        ),
    ] = False,
) -> None:
    """Drill a frozen vision backbone once, study the core many times."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and leave with its exit code: 0 done, 1 found wrong or failed, 2 wrong usage, 130 interrupted."""
    open_streams()
    if sys.platform == "win32":
        sys.stderr.write("icecore: error: Windows is not supported; run it on Linux, macOS or WSL\n")
        sys.exit(WRONG_USAGE)
    code = _status(sys.argv[1:] if arguments is None else list(arguments))
    try:
        close_streams()
    except OSError as error:
        sys.stderr.write(f"icecore: error: standard output: {error.strerror}; what it was to say is lost\n")
        code = code or FAILED
    sys.exit(code)


def _status(arguments: list[str]) -> int:
    try:
        code = app(arguments, prog_name="icecore", standalone_mode=False)
    except typer.Abort:
        return INTERRUPTED
    except Exception as error:
        line, code = _explain(error)
        kind = "" if code == INTERRUPTED else "error: "
        sys.stderr.write(f"icecore: {kind}{line}\n" if line else "")
    return code if isinstance(code, int) else 0


def _explain(error: Exception) -> tuple[str, int]:
    """Say a user's mistake in one line, with its exit code; anything else is ours and keeps its traceback."""
    if hasattr(error, "format_message"):  # typer's own: an unknown command, option or value
        return _explain_usage(error)
    from icecore.store import IcecoreError

    if isinstance(error, IcecoreError):
        return " ".join(str(error).split()), error.exit_code
    if isinstance(error, OSError) and error.errno in FULL:
        where = f"{error.filename}: " if error.filename else ""
        line = (
            f"{where}no space left on the device; what is finished is kept: make room, then run the same command again"
        )
        return line, FAILED
    if isinstance(error, OSError) and error.errno is not None:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or type(error).__name__}; mend that, then run the same command again", FAILED
    if isinstance(error, UnicodeEncodeError) and "surrogates" in error.reason:
        around = error.object[max(0, error.start - NEAR) : error.end + NEAR]
        return f"{around!r}: is not in UTF-8, so it cannot be recorded; rename the file or folder", FAILED
    raise error


def _explain_usage(error: Exception) -> tuple[str, int]:
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "icecore"
    message = " ".join(error.format_message().split())  # pyright: ignore[reportAttributeAccessIssue]
    # Without a command the help is printed already, and the message is empty.
    return f"{message.removesuffix('.')}; see {path} --help" if message else "", WRONG_USAGE
