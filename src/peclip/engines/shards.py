"""Shards of many sources, for several independent processes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from peclip.errors import ConfigError

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `count` shards; the shards are disjoint and together cover all items."""

    number: int
    """From 1 to `count`."""
    count: int

    def of(self, items: Iterable[Item], key: Callable[[Item], Any]) -> list[Item]:
        """Returns every `count`-th of the sorted items, independent of their input order."""
        return sorted(items, key=key)[self.number - 1 :: self.count]

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def read_shard(text: str, environment: Mapping[str, str]) -> Shard:
    """Reads `3/8`, or with `env` the variables RANK (from 0) and WORLD_SIZE.

    Raises:
        ConfigError: the text is invalid, the number is not in 1 to the count, or a variable is missing.
    """
    if text == "env":
        return _of_environment(environment)
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise ConfigError(
            f"Invalid --shard {text!r}: use K/N with K from 1 to N, such as 3/8, or env."
        )
    return Shard(int(found[1]), int(found[2]))


def _of_environment(environment: Mapping[str, str]) -> Shard:
    given = {name: environment.get(name, "") for name in ("RANK", "WORLD_SIZE")}
    numbers = [int(value) for value in given.values() if re.fullmatch("[0-9]{1,9}", value)]
    if len(numbers) != 2 or numbers[0] >= numbers[1]:
        raise ConfigError(
            "--shard env requires the environment variables WORLD_SIZE and RANK, with RANK from "
            f"0 to WORLD_SIZE - 1; found RANK={given['RANK']!r}, "
            f"WORLD_SIZE={given['WORLD_SIZE']!r}. Set both, or use --shard K/N."
        )
    return Shard(numbers[0] + 1, numbers[1])
