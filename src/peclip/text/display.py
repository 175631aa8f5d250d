"""Escapes untrusted text for display: names, labels and messages may contain control characters.

In a terminal, these could move the cursor, colour the text or set the window title.
"""

from __future__ import annotations

import re
import unicodedata

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


def columns(text: str) -> int:
    """Returns the width of a line in Latin letters: East Asian ones count twice, combining marks not at all."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def shortened(text: str, limit: int = 40) -> str:
    """Returns text as one printable line of at most `limit` columns, for an axis or a legend."""
    line = one_line(text)
    return line if columns(line) <= limit else f"{_beginning(line, limit - 1)}…"


def shortened_inside(text: str, limit: int = 40) -> str:
    """As `shortened`, but omits the middle, for texts that begin alike."""
    line = one_line(text)
    if columns(line) <= limit:
        return line
    half = (limit - 1) // 2
    return f"{_beginning(line, limit - 1 - half)}…{_beginning(line[::-1], half)[::-1]}"


def wrapped(text: str, limit: int) -> list[str]:
    """Returns text as printable lines of at most `limit` columns, broken at spaces and within longer words."""
    lines = [""]
    for word in one_line(text).split():
        if lines[-1] and columns(f"{lines[-1]} {word}") <= limit:
            lines[-1] += f" {word}"
            continue
        while columns(word) > limit:
            lines.append(_beginning(word, limit))
            word = word[len(lines[-1]) :]
        lines.append(word)
    return [line for line in lines if line]


def _beginning(line: str, limit: int) -> str:
    """Returns as many letters as fit into a number of columns, at least one."""
    width = 0
    for place, letter in enumerate(line):
        width += _columns(letter)
        if width > limit and place:
            return line[:place]
    return line


def markdown(text: str) -> str:
    """Returns text as one line that Markdown and HTML show literally, even in a table cell."""
    escaped = _MARKDOWN.sub(r"\\\1", one_line(text))
    return "".join(_ENTITIES.get(character, character) for character in escaped)
