"""The command `peclip`: one file per command, plus shared code. Nothing imports torch before a command runs.

Belongs here: options, progress bars and printing. A command parses, calls one library function and prints.
Belongs elsewhere: everything Python users may need; the library never imports this package.
"""

import os

try:
    import signal
except KeyboardInterrupt:  # before main has installed its handler
    os._exit(130)

TYPE_CHECKING = False  # typing is slow to import
if TYPE_CHECKING:
    from types import FrameType


def main() -> None:
    """The entry point of the command."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not in the background
        signal.signal(signal.SIGINT, _interrupt)
    from peclip.cli.app import main as run_command  # imports every command module

    run_command()


def _interrupt(number: int, frame: "FrameType | None") -> None:
    """Raises `KeyboardInterrupt`, but ends the process during an import.

    There it would be a long traceback, or another exception, or be ignored in a callback of the import system.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os._exit(128 + number)
        frame = frame.f_back
    raise KeyboardInterrupt
