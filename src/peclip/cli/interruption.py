"""Ctrl-C and SIGTERM end a command without leaving a half-written output."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from peclip.cli import console


class Interruption:
    """Defers signals while held; once released, the first signal raises.

    It is held on entry, so that nothing raises before all handlers are installed.
    SIGINT raises `KeyboardInterrupt` (exit code 130) and SIGTERM `SystemExit(143)`. Further signals are
    ignored, because the output is then being completed.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._held = True
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._arrive)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._held = True
        for number, handler in self._before.items():
            signal.signal(number, handler)  # a signal deferred until now found everything written

    def hold(self) -> None:
        """Defers signals from now on, so that the following work completes."""
        self._held = True

    def release(self) -> None:
        """Raises for a deferred signal, and lets the next one raise immediately."""
        self._held = False
        if self._number is not None:
            raise _stop(self._number)

    def _arrive(self, number: int, frame: FrameType | None) -> None:
        if self._number is not None:
            return
        self._number = number
        if not self._held:
            raise _stop(number)


def _stop(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)


@contextmanager
def resumable(command: str, folder: Path, begun: str) -> Iterator[None]:
    """Makes SIGTERM end the block like Ctrl-C, which closes files and trackers, and says how to resume.

    Args:
        command: the command of peclip, which takes `--resume FOLDER`.
        folder: the one that is resumed.
        begun: name of the file without which it cannot be resumed.
    """

    def stop(number: int, frame: object) -> None:
        raise _stop(number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if (folder / begun).is_file():
            resume = shlex.join(["peclip", command, "--resume", str(folder)])
            console.note(f"interrupted; resume with: {resume}")
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
