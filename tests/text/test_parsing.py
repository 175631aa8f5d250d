"""JSON and YAML within bounds: a value, or one line that says why there is none."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import pytest

from peclip.errors import ConfigError
from peclip.text import parsing
from peclip.text.bounds import MAX_DEPTH, check_bounds, read_text, whole_number
from peclip.text.parsing import parse_json, parse_yaml

DOUBLING = "a: &a {k: 1}\n" + "".join(
    f"b{n}: &b{n} {{<<: [*{'a' if not n else f'b{n - 1}'}, *{'a' if not n else f'b{n - 1}'}]}}\n"
    for n in range(60)
)
LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{n + 1}: &a{n + 1} [*a{n}, *a{n}]\n" for n in range(60))


@pytest.mark.parametrize("parse", [parse_json, parse_yaml])
def test_values_within_the_bounds(parse: object) -> None:
    text = '{"a": [1, -2.5, true, null, "😀"], "b": {"c": ""}}'
    assert callable(parse)
    assert parse(text) == {"a": [1, -2.5, True, None, "\U0001f600"], "b": {"c": ""}}
    inner = MAX_DEPTH - 1
    assert parse("[" * inner + "1" + "]" * inner) is not None
    assert parse(f"[{'9' * 300}]") == [int("9" * 300)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not valid JSON"),
        ("[" * 100_000, "is nested more than 32 levels deep"),
        ("[" * 40 + "]" * 40, "is nested more than 32 levels deep"),
        ('{"a":' * 40 + "1" + "}" * 40, "is nested more than 32 levels deep"),
        (f'{{"a": {"9" * 301}}}', "a number with more than 300 digits"),
        (f'{{"a": {"9" * 5000}}}', "a number with more than 300 digits"),
    ],
)
def test_invalid_json(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        parse_json(text)


def test_json_of_bytes_that_are_not_text() -> None:
    with pytest.raises(ConfigError, match="is not valid JSON"):
        parse_json(b'{"a": "\xff"}')


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [", "is not valid YAML"),
        ("a: !!int abc", "is not valid YAML"),
        ("a: !!int ''", "is not valid YAML"),
        ("a: !!float x", "is not valid YAML"),
        ("a: !!bool x", "is not valid YAML"),
        ("a: !!timestamp x", "is not valid YAML"),
        ("a: !!python/object:os.system x", "is not valid YAML"),
        ("a: \x1b[2J", "is not valid YAML"),
        ("? [a]\n: b", "is not valid YAML"),
        ("? !!python/tuple [[a]]\n: b", "is not valid YAML"),
        ("<<: 3", "is not valid YAML"),
        ("[" * 5000, "is nested more than 32 levels deep"),
        ("[" * 40 + "]" * 40, "is nested more than 32 levels deep"),
        ("a: &a [*a]", "is nested more than 32 levels deep"),
        (f"a: {'9' * 5000}", "a number with more than 300 digits"),
        (f"a: 0x{'f' * 5000}", "a number with more than 300 digits"),
        (f"a: 1{':59' * 5000}", "a number with more than 300 digits"),
        (f"a: {'9' * 5000}.5", "a number with more than 300 digits"),
        (LAUGHS, "contains more than 100,000 items|is nested more than 32 levels deep"),
    ],
)
def test_invalid_yaml(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        parse_yaml(text)


@pytest.mark.parametrize("value", ["!!timestamp 2024-13-45", "!!bool x"])
def test_an_invalid_value_is_found_by_its_line_and_field(value: str) -> None:
    with pytest.raises(ConfigError, match="line 2, column 11: epochs: ") as caught:
        parse_yaml(f"train:\n  epochs: {value}\n")
    assert "object has no attribute" not in str(caught.value)


def test_expansion_of_aliases_is_bounded_before_it_takes_memory() -> None:
    started = time.process_time()
    for text in (LAUGHS, LAUGHS.replace(", *", ", 1, *")):
        with pytest.raises(ConfigError):
            parse_yaml(text)
    with suppress(ConfigError):  # raised with versions of PyYAML that keep duplicates
        parse_yaml(DOUBLING)
    assert time.process_time() - started < 5


def test_merged_keys_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a: &a {k: 1, l: 2}\nb: {<<: *a, m: 3}\n"
    assert parse_yaml(text)["b"] == {"k": 1, "l": 2, "m": 3}
    monkeypatch.setattr(parsing, "_MAX_ITEMS", 2)
    with pytest.raises(ConfigError, match="merge keys produce more than 2 items"):
        parse_yaml(text)


def test_dates_of_yaml_are_text() -> None:
    found = parse_yaml("[2024-13-45, 2024-01-31, 2024-01-31T12:00:00Z, 12:30]")
    assert found == ["2024-13-45", "2024-01-31", "2024-01-31T12:00:00Z", 750]


def test_shared_items_count_as_often_as_they_occur() -> None:
    shared = [0] * 10
    check_bounds([shared] * 9, max_items=99)
    with pytest.raises(ConfigError, match="more than 98 items"):
        check_bounds([shared] * 9, max_items=98)


def test_texts_of_files(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfabc")
    assert read_text(path, limit=3) == "abc"
    with pytest.raises(ConfigError, match="is longer than 2 characters"):
        read_text(path, limit=2)
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="save it as UTF-8"):
        read_text(path)
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_text(tmp_path)


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("007", 7), ("9" * 18, 10**18 - 1), ("9" * 19, None), ("-1", None), ("1.0", None)],
)
def test_whole_numbers(text: str, number: int | None) -> None:
    assert whole_number(text) == number
