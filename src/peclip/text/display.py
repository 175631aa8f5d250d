"""Escapes untrusted text for display: names, labels and messages may contain control characters.

In a terminal, these could move the cursor, colour the text or set the window title.
"""

from __future__ import annotations

import re

MAX_SHOWN = 750
"""Maximum length of a message; the middle of a longer one is omitted."""

_MARKDOWN = re.compile(r"([\\`*\[\]|])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def printable(text: str) -> str:
    r"""Returns text with control, format and unencodable characters as escapes such as `\x1b`."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def one_line(text: str) -> str:
    """Returns text as one printable line, with single spaces."""
    return printable(" ".join(text.split()))


def abridged(text: str) -> str:
    """Returns a message as one printable line; the middle of a long one is omitted.

    The beginning states what was given, and the end what to do.
    """
    line = one_line(text)
    if len(line) <= MAX_SHOWN:
        return line
    return f"{line[: 2 * MAX_SHOWN // 3]} … {line[-(MAX_SHOWN // 3 - 3) :]}"


def shortened(text: str, limit: int = 40) -> str:
    """Returns text as one printable line of at most `limit` characters, for an axis or a legend."""
    line = one_line(text)
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def markdown(text: str) -> str:
    """Returns text as one line that Markdown and HTML show literally, even in a table cell."""
    escaped = _MARKDOWN.sub(r"\\\1", one_line(text))
    return "".join(_ENTITIES.get(character, character) for character in escaped)
