"""Exceptions, and their exit codes on the command line.

Every message to a user states what was given, what is accepted and what to do. `UserError` is safe to
show to a user (one line in a terminal, status 400 of a web page); anything else is a bug in peclip.
"""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

SOME_FAILED = 6
"""The exit code when some sources failed and the others succeeded, or a check found problems."""

EXIT_CODES = {
    0: "success",
    1: "a bug in peclip",
    2: "wrong usage",
    3: "input unreadable or without video",
    4: "weights or endpoint unavailable",
    5: "device, decoder or optional package missing",
    SOME_FAILED: "some sources failed and the others were written, or a check found problems",
    7: "training stopped by an error",
    130: "interrupted",
    143: "terminated",
}
"""Every exit code of the command line, for `peclip --help`; docs/exit_codes.md adds the causes."""


_QUOTED = 200
"""Maximum number of characters of a library's or a server's message in an error."""


def quoted(text: str) -> str:
    """Returns the first line of a text from a library or a server; the middle of a long one is omitted.

    A server may send any length. The end often states what is wrong.
    """
    line = next(iter(text.strip().splitlines()), "")
    if len(line) <= _QUOTED:
        return line
    return f"{line[: 2 * _QUOTED // 3]} … {line[-(_QUOTED // 3 - 3) :]}"


def first_line(error: BaseException) -> str:
    """Returns the first line of an exception's message, shortened, or its type if it is empty."""
    return quoted(str(error)) or type(error).__name__


class PEClipError(Exception):
    """The base class of peclip's exceptions."""

    exit_code = 1


class UserError(PEClipError):
    """An error the user can fix."""

    exit_code = 2


class InternalError(PEClipError):
    """A bug in peclip triggered by a source; the other sources of a run are still read."""

    @classmethod
    def of(cls, source: str, error: Exception) -> InternalError:
        """Returns the error for a source that caused an exception in peclip."""
        return cls(
            f"{source} triggered a bug in peclip: {cause(error)}. Please report it with the traceback "
            "that peclip -v predict shows."
        )


def without_frames(error: PEClipError) -> PEClipError:
    """Returns an error without its traceback, whose frames would keep images in memory."""
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return error


class ConfigError(UserError, ValueError):
    """An option, a configuration or a label set is invalid."""


class VideoError(UserError):
    """A source cannot be read, or contains no video."""

    exit_code = 3


class FrameCountError(VideoError):
    """Damage was found while frames were read, so that the number of frames has changed."""


class DatasetError(UserError):
    """A data set, or one of its lists, is missing or invalid."""

    exit_code = 3


class WeightsError(UserError):
    """Weights are unavailable: offline and not cached, a failed download, a wrong checksum."""

    exit_code = 4


class CheckpointError(WeightsError):
    """A weight file is invalid, or does not match its model."""


class EndpointError(UserError):
    """A caption endpoint is unreachable, rejects requests, violates the protocol, or returns no captions."""

    exit_code = 4


class NoCaptionError(UserError):
    """A model returned no caption for one video; the next one may succeed."""

    exit_code = SOME_FAILED


class DeviceError(UserError):
    """The requested device or decoder is missing on this machine, or insufficient for the task."""

    exit_code = 5


class MissingExtraError(UserError, ImportError):
    """An optional package is not installed. The message contains the commands that install it."""

    exit_code = 5

    def __init__(self, purpose: str, extra: str) -> None:
        super().__init__(
            f"{purpose} requires an optional package. Install it with: {install_command(extra)}"
        )


def install_command(extra: str) -> str:
    """Returns the commands that install the packages of an extra.

    They name the packages themselves, because `peclip[extra]` needs a package index that has peclip.
    """
    packages = " ".join(
        f'"{requirement}"' if re.search(r"[^\w.-]", requirement) else requirement
        for requirement in optional_requirements().get(extra, [f"peclip[{extra}]"])
    )
    return f"pip install {packages} (with uv: uv pip install {packages})"


def optional_requirements() -> dict[str, list[str]]:
    """Returns the requirements of each extra of the installed package, such as `ray[data]>=2.60`.

    The extra `dev`, which repeats others, is omitted.
    """
    from importlib.metadata import requires  # slow to import, and only errors need it

    found = dict[str, list[str]]()
    for text in requires("peclip") or ():
        requirement, _, condition = text.partition(";")
        extra = re.search(r"""extra\s*==\s*["']([\w-]+)["']""", condition)
        if extra is not None and extra[1] != "dev":
            found.setdefault(extra[1], []).append(requirement.strip())
    return found


class TrainingError(UserError):
    """Training cannot continue: non-finite loss, out of memory, or its state cannot be saved."""

    exit_code = 7


class ExportError(UserError):
    """A model cannot be exported, or the exported model computes something else."""

    exit_code = SOME_FAILED


_PACKAGE = os.path.dirname(__file__) + os.sep


def is_bug(error: Exception) -> bool:
    """Returns whether an exception was raised by peclip's own code rather than a library or the operating system."""
    library = type(error).__module__.partition(".")[0] not in {"builtins", "peclip"}
    if library or isinstance(error, OSError | MemoryError):
        return False
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return not frames or frames[-1].f_code.co_filename.startswith(_PACKAGE)


def cause(error: BaseException) -> str:
    """Returns an exception's type and first line, for an error message that states the cause."""
    line = first_line(error).rstrip(". ")
    kind = type(error).__name__
    return kind if line == kind else f"{kind}: {line}"


@contextmanager
def source_errors(name: str) -> Iterator[None]:
    """Converts exceptions from a decoder, a server or a parser into failures of the source being read.

    Use it only around calls that read a source. Bugs in peclip itself propagate unchanged.

    Raises:
        VideoError: a library or the operating system raised an exception, which becomes its cause.
    """
    try:
        yield
    except PEClipError:
        raise
    except Exception as error:
        if is_bug(error):
            raise
        raise VideoError(
            f"{name} cannot be read: {cause(error)}. Convert it, for example with: ffmpeg -i INPUT "
            "-c:v libx264 output.mp4"
        ) from error
