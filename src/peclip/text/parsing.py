"""Parses untrusted JSON, TOML and YAML into a value, or raises a one-line reason.

The messages of these errors have no subject and no full stop: "is not valid JSON: …".
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from peclip.errors import ConfigError, first_line
from peclip.text.bounds import MAX_DEPTH, MAX_DIGITS, TOO_DEEP, TOO_MANY_DIGITS, check_bounds

_MAX_ITEMS = 100_000


class NotJSONError(ConfigError):
    """The text is not JSON. JSON that exceeds a limit raises a plain ConfigError instead."""


def parse_json(text: str | bytes) -> Any:
    """Returns the value of JSON text.

    Raises:
        NotJSONError: it is not JSON.
        ConfigError: it is nested too deeply, or contains an integer with too many digits.
    """
    try:
        value = json.loads(text, parse_int=_integer)
    except RecursionError:
        raise ConfigError(TOO_DEEP) from None
    except ConfigError:  # is a ValueError
        raise
    except ValueError as error:
        raise NotJSONError(f"is not valid JSON: {first_line(error)}") from None
    check_bounds(value)
    return value


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ConfigError(TOO_MANY_DIGITS)
    return int(digits)


def parse_toml(text: str) -> dict[str, Any]:
    """Returns the table of a TOML text.

    Raises:
        ConfigError: it is not TOML, or exceeds the bounds of `check_bounds`.
    """
    import tomllib  # not needed by most commands

    try:
        value = tomllib.loads(text)
    except RecursionError:
        raise ConfigError(TOO_DEEP) from None
    except ValueError as error:
        raise ConfigError(f"is not valid TOML: {first_line(error)}") from None
    check_bounds(value)
    return value


def parse_yaml(text: str) -> Any:
    """Returns the value of YAML text; dates are returned as text.

    Raises:
        ConfigError: it is not YAML, or exceeds the bounds of `check_bounds`, with all aliases expanded.
    """
    import yaml  # not needed by most commands

    try:
        value = yaml.load(text, Loader=_loader())
    except RecursionError:
        raise ConfigError(TOO_DEEP) from None
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"is not valid YAML: {reason}") from None
    except Exception as error:  # PyYAML raises TypeError for some keys, and others
        raise ConfigError(f"is not valid YAML: {first_line(error)}") from None
    check_bounds(value, max_items=_MAX_ITEMS)
    return value


@cache
def _loader() -> Any:
    import yaml

    date = "tag:yaml.org,2002:timestamp"
    numbers = {f"tag:yaml.org,2002:{kind}" for kind in ("int", "float")}

    class Loader(yaml.SafeLoader):
        # Without dates: no field holds one, and 2024-13-45 would be an error of Python's calendar.
        yaml_implicit_resolvers = {  # noqa: RUF012 - as in PyYAML
            start: [(tag, pattern) for tag, pattern in resolvers if tag != date]
            for start, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            self.depth += 1
            if self.depth > MAX_DEPTH + 1:  # before the rest is read, which is slow at this depth
                raise RecursionError
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

        def construct_object(self, node: Any, deep: bool = False) -> Any:
            try:
                return super().construct_object(node, deep)
            except (yaml.YAMLError, RecursionError):
                raise
            except Exception as error:  # such as KeyError, IndexError, AttributeError
                reason = f": {first_line(error)}" if isinstance(error, ValueError) else ""
                raise yaml.MarkedYAMLError(
                    problem=f"invalid {node.tag.rpartition(':')[2]}{reason}",
                    problem_mark=node.start_mark,
                ) from None

        def construct_scalar(self, node: Any) -> Any:
            value = super().construct_scalar(node)
            # Sexagesimal numbers (1:30:00) of this length take minutes.
            if node.tag in numbers and len(value) > MAX_DIGITS:
                raise yaml.YAMLError(f"it {TOO_MANY_DIGITS}")
            return value

        def flatten_mapping(self, node: Any) -> None:
            super().flatten_mapping(node)
            if len(node.value) > _MAX_ITEMS:  # merge keys (<<) of merge keys double every level
                raise yaml.YAMLError(f"merge keys produce more than {_MAX_ITEMS:,} items")

    return Loader
