"""Compares settings stored in a file with the current ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple


class Difference(NamedTuple):
    """A setting that has changed; its text is such as `window 1.0 instead of 2.0`."""

    name: str
    """Dotted if nested."""
    before: Any
    """The stored value, `None` if missing."""
    now: Any

    def __str__(self) -> str:
        return f"{self.name} {self.before!r} instead of {self.now!r}"


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any], *, ignored: Collection[str] = ()
) -> list[Difference]:
    """Compares stored settings with the present ones.

    Args:
        before: the stored ones; may be nested.
        now: the present ones; may be nested.
        ignored: dotted names that may differ.

    Returns:
        The changed settings, in the order of the present ones; a missing one equals `None`.
    """
    was, now = flatten(before), flatten(now)
    names = [name for name in {**now, **was} if name not in ignored]
    return [
        Difference(name, was.get(name), now.get(name))
        for name in names
        if was.get(name) != now.get(name)
    ]


def flatten(values: Mapping[str, Any], separator: str = ".") -> dict[str, Any]:
    """Returns nested values on one level: `{"lr": {"adapters": 1}}` has the key `lr.adapters`."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            inner = flatten(value, separator)
            found |= {f"{key}{separator}{name}": leaf for name, leaf in inner.items()}
        else:
            found[key] = value
    return found
