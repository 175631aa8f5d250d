"""Limits on file content, so that a few bytes cannot cost gigabytes of memory or hours of time.

The messages of these errors have no subject and no full stop: "is nested more than 32 levels deep".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from peclip.errors import ConfigError

MAX_CHARACTERS = 1_000_000
"""Maximum length of a configuration, a recipe or a label list, in characters."""
MAX_DEPTH = 32
"""Maximum nesting depth of lists and mappings."""
MAX_DIGITS = 300
"""Maximum number of digits in an integer; more do not fit in a float, and Python refuses to print 4,300."""
_MAX_BITS = 1000  # 301 digits

TOO_DEEP = f"is nested more than {MAX_DEPTH} levels deep"
TOO_MANY_DIGITS = f"contains a number with more than {MAX_DIGITS} digits"


def read_text(path: Path, *, limit: int | None = MAX_CHARACTERS) -> str:
    """Reads a text file in UTF-8, with or without a byte order mark.

    Raises:
        ConfigError: it cannot be read, is not UTF-8, or has more characters than the limit.
    """
    try:
        with path.open(encoding="utf-8-sig") as stream:
            text = stream.read(-1 if limit is None else limit + 1)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigError("is not UTF-8 text; save it as UTF-8") from None
    if limit is not None and len(text) > limit:
        raise ConfigError(f"is longer than {limit:,} characters")
    return text


def check_bounds(value: Any, *, max_items: int | None = None) -> None:
    """Checks the depth of a parsed value, the size of its integers and the number of its items.

    Shared items (YAML aliases) count each time they occur, because later code visits them each time.

    Raises:
        ConfigError: one of them exceeds its limit.
    """
    level, count = [value], 0
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for item in level:
            if isinstance(item, int) and item.bit_length() > _MAX_BITS:
                raise ConfigError(TOO_MANY_DIGITS)
            below += _items(item)
            if max_items is not None and count + len(below) > max_items:
                raise ConfigError(f"contains more than {max_items:,} items")
        if not below:
            return
        count += len(below)
        level = below
    raise ConfigError(TOO_DEEP)


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return chain(value.keys(), value.values())
    return value if isinstance(value, list | tuple | set) else ()


def whole_number(text: str) -> int | None:
    """Returns the non-negative integer in a text; `None` if there is none or it has more than 18 digits."""
    return int(text) if text.isdecimal() and len(text) <= 18 else None


def is_encodable(value: Any) -> bool:
    """Returns whether all texts in a value can be encoded as UTF-8; file systems allow other paths."""
    if isinstance(value, str):
        return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, Mapping):
        return all(is_encodable(key) and is_encodable(item) for key, item in value.items())
    return not isinstance(value, tuple | list) or all(map(is_encodable, value))
