"""The command `peclip`: one file per command, plus shared code. Nothing imports torch before a command runs.

Belongs here: options, progress bars and printing. A command parses, calls one library function and prints.
Belongs elsewhere: everything Python users may need; the library never imports this package.
"""

from __future__ import annotations


def main() -> None:
    """The entry point of the command."""
    from peclip.cli.app import main as run_command  # imports every command module

    run_command()
