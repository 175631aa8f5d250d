"""Ctrl-C and SIGTERM, which end a command without tearing what it writes."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any, Self


class Interruption:
    """Once released, the first signal raises; while it is held, the signal is only noted.

    It is held when it is entered, so that nothing raises before the handlers are all in place.
    SIGINT raises `KeyboardInterrupt` (exit code 130) and SIGTERM `SystemExit(143)`. Further signals do
    nothing, because by then the output is being completed.
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
            signal.signal(number, handler)  # a signal noted by now found everything done

    def hold(self) -> None:
        """What follows is done whole: from now on a signal is noted and does not raise."""
        self._held = True

    def release(self) -> None:
        """Raises for a signal that has come, and lets the next one raise at once."""
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
