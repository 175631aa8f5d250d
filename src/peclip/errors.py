"""What can go wrong, and the exit code the command line gives for it.

Every message for a user says what was given, what is accepted and what to do. `UserError` is safe to
show to a person (one line on a terminal, status 400 of a web page); anything else is a bug in peclip.
"""

from __future__ import annotations

SOME_FAILED = 6
"""The exit code where some sources failed and the others were done, or a check found problems."""

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


def first_line(error: BaseException) -> str:
    """Returns what an exception says first, or its kind if it says nothing: a part of a message of ours."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class PEClipError(Exception):
    """The root of peclip's own exceptions."""

    exit_code = 1


class UserError(PEClipError):
    """Something that the person who called can put right."""

    exit_code = 2


def without_frames(error: UserError) -> UserError:
    """Returns an error that can be kept: the frames of its traceback hold every image they were at."""
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return error


class ConfigError(UserError, ValueError):
    """An option, a configuration or a label set does not make sense."""


class VideoError(UserError):
    """A source cannot be read, or holds no video."""

    exit_code = 3


class DatasetError(UserError):
    """A data set, or a list of it, is not where or not what it should be."""

    exit_code = 3


class WeightsError(UserError):
    """Weights cannot be had: offline and not cached, a failed download, a wrong checksum."""

    exit_code = 4


class CheckpointError(WeightsError):
    """A weight file does not fit the model that it names, or is not one."""


class EndpointError(UserError):
    """A caption endpoint cannot be reached, refuses, does not answer as one, or never has a caption."""

    exit_code = 4


class NoCaptionError(UserError):
    """A model has nothing to say about one video; about the next one it may."""

    exit_code = SOME_FAILED


class DeviceError(UserError):
    """The device or the decoder that was asked for is not on this machine, or not up to what it is to do."""

    exit_code = 5


class MissingExtraError(UserError, ImportError):
    """An optional package is not installed. The message carries the pip command."""

    exit_code = 5

    def __init__(self, purpose: str, extra: str) -> None:
        super().__init__(f"{purpose} needs an optional package: pip install 'peclip[{extra}]'")


class TrainingError(UserError):
    """A training cannot go on: the loss is not a number, the memory too small, or its state cannot be kept."""

    exit_code = 7
