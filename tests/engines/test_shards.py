"""The shards of a list are disjoint, and together they are the list."""

from __future__ import annotations

import random

import pytest

from peclip.engines.shards import Shard, read_shard
from peclip.errors import ConfigError


@pytest.mark.parametrize("count", [1, 2, 3, 8, 40])
@pytest.mark.parametrize("size", [0, 1, 7, 24])
def test_the_shards_cover_all_sources_in_any_order(count: int, size: int) -> None:
    names = [f"{n}.mp4" for n in range(size)]
    shuffled = random.Random(count).sample(names, size)
    parts = [Shard(k, count).of(names, key=str) for k in range(1, count + 1)]
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert [Shard(k, count).of(shuffled, key=str) for k in range(1, count + 1)] == parts
    lengths = [len(part) for part in parts]
    assert max(lengths) - min(lengths) <= 1


def test_a_shard_is_every_nth_sorted_source() -> None:
    assert Shard(2, 3).of("edcba", key=str) == ["b", "e"]


@pytest.mark.parametrize(
    ("text", "shard"), [("3/8", Shard(3, 8)), ("1/1", Shard(1, 1)), ("08/8", Shard(8, 8))]
)
def test_k_of_n_is_parsed(text: str, shard: Shard) -> None:
    assert read_shard(text, {}) == shard


def test_the_environment_counts_from_0() -> None:
    assert read_shard("env", {"RANK": "0", "WORLD_SIZE": "4"}) == Shard(1, 4)
    assert read_shard("env", {"RANK": "3", "WORLD_SIZE": "4"}) == Shard(4, 4)


@pytest.mark.parametrize(
    "text",
    ["0/8", "9/8", "3", "3/", "/8", "-1/8", "1/0", "a/b", "1/2/3", "1.5/2", "", "ENV", "²/3"],
)
def test_an_invalid_shard_names_the_accepted_form(text: str) -> None:
    with pytest.raises(ConfigError, match=r"3/8.*env") as caught:
        read_shard(text, {})
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"RANK": "0"},
        {"WORLD_SIZE": "4"},
        {"RANK": "4", "WORLD_SIZE": "4"},
        {"RANK": "-1", "WORLD_SIZE": "4"},
        {"RANK": "x", "WORLD_SIZE": "4"},
        {"RANK": "0", "WORLD_SIZE": "0"},
    ],
)
def test_an_environment_without_a_shard_is_an_error(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"RANK.*WORLD_SIZE.*--shard K/N"):
        read_shard("env", environment)
