"""docs/cli.md has every command with every option, as `--help` has them."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from peclip.cli.app import app

REFERENCE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
WAY = "run: typer --app app peclip.cli.app utils docs --name peclip --output docs/cli.md"


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    yield name, command
    for word, part in getattr(command, "commands", {}).items():
        yield from commands(part, f"{name} {word}")


ADDED_BY_TYPER = {"--help", "--install-completion", "--show-completion"}


def options(command: Any) -> dict[str, str]:
    """Returns the help of every option by its long names."""
    return {
        name: " ".join((parameter.help or "").split())
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("--")
    }


def test_the_reference_has_every_command_and_option() -> None:
    sections = dict(
        re.findall(r"^##* `(peclip[^`]*)`\n(.*?)(?=^#|\Z)", REFERENCE, re.DOTALL | re.MULTILINE)
    )
    known = dict(commands(typer.main.get_command(app), "peclip"))
    assert list(sections) == list(known), WAY
    for name, command in known.items():
        lines = re.findall(r"^\* `(-[^`]*)`: (.*)$", sections[name], re.MULTILINE)
        documented = {word: html.unescape(line) for names, line in lines for word in _long(names)}
        there = options(command)
        assert set(documented) - ADDED_BY_TYPER == set(there) - ADDED_BY_TYPER, f"{name}; {WAY}"
        for option in set(there) - ADDED_BY_TYPER:
            assert documented[option].startswith(there[option]), f"{name} {option}; {WAY}"


def test_the_reference_has_the_exit_codes() -> None:
    assert app.info.epilog is not None
    assert f"\n{app.info.epilog}\n" in REFERENCE, WAY


def _long(names: str) -> list[str]:
    return re.findall(r"--[a-z][\w-]*", names)
