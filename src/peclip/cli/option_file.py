"""`--config FILE`: options of a command from a YAML or TOML file."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from peclip.errors import ConfigError

_ENDINGS = (".toml", ".yaml", ".yml")
_EXCLUDED = {"config", "help"}


class _Name(NamedTuple):
    """An option by one of its names."""

    parameter: str
    is_flag: bool
    negated: bool
    """Whether this name switches the flag off, as `no-face-crop` does."""
    repeatable: bool


def _use(context: typer.Context, value: Path | None) -> Path | None:
    """Makes the values of a file the defaults of the command that is being parsed."""
    if value is not None and not context.resilient_parsing:
        context.default_map = _defaults(value, context)
    return value


ConfigOpt = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        is_eager=True,
        callback=_use,
        help="Read options from this YAML or TOML file; the keys are the option names without the "
        "leading dashes (e.g. window: 2s). Options on the command line take precedence.",
    ),
]


def with_option_file(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the option `--config`, unless it has it."""
    if "config" in inspect.signature(command).parameters:
        return command

    @wraps(command)
    def run(*, config: Path | None, **values: Any) -> None:
        command(**values)

    own = inspect.signature(command, eval_str=True).parameters.values()
    option = inspect.Parameter(
        "config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=ConfigOpt
    )
    run.__signature__ = inspect.Signature([*own, option])  # type: ignore[attr-defined]
    return run


def _defaults(path: Path, context: typer.Context) -> dict[str, Any]:
    """Reads an option file, as values by the name of the parameter.

    Raises:
        ConfigError: the file cannot be read, has an unknown name, or a value of the wrong kind.
    """
    names = dict(_names(context))
    values: dict[str, Any] = {}
    for name, value in _read(path).items():
        if name not in names:
            raise ConfigError(
                f"The option file {str(path)!r} contains {str(name)[:80]!r}, which is not an option of "
                f"{context.command_path}. It accepts {', '.join(sorted(names))}."
            )
        option = names[name]
        if option.parameter in values:
            raise ConfigError(
                f"The option file {str(path)!r} sets {name} twice, under different names; keep one."
            )
        values[option.parameter] = _value(path, name, option, value)
    return values


def _names(context: typer.Context) -> Iterator[tuple[str, _Name]]:
    for option in context.command.params:
        if option.param_type_name != "option" or option.name in _EXCLUDED:
            continue
        flag, many = bool(getattr(option, "is_flag", False)), bool(option.multiple)
        for negated, texts in ((False, option.opts), (True, option.secondary_opts)):
            for text in texts:
                if text.startswith("--"):
                    yield text.removeprefix("--"), _Name(str(option.name), flag, negated, many)


def _value(path: Path, name: str, option: _Name, value: Any) -> Any:
    """Returns a value as the command line would give it: a text that is parsed, or a switch."""
    if option.is_flag:
        if not isinstance(value, bool):
            raise _invalid(path, name, value, "true or false")
        return value != option.negated
    if option.repeatable:
        items = value if isinstance(value, list) else [value]
        return [_text(path, name, item) for item in items]
    return _text(path, name, value)


def _text(path: Path, name: str, value: Any) -> str:
    # YAML reads no, off and yes as booleans, and a text is meant.
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _invalid(
            path, name, value, "a number or text (in quotes if it is a word such as off)"
        )
    return str(value)


def _invalid(path: Path, name: str, value: Any, accepted: str) -> ConfigError:
    return ConfigError(
        f"The option file {str(path)!r} sets {name} to {str(value)[:80]!r}; use {accepted}."
    )


def _read(path: Path) -> Mapping[Any, Any]:
    from peclip.text.bounds import read_text
    from peclip.text.parsing import parse_toml, parse_yaml

    if path.suffix.lower() not in _ENDINGS:
        raise ConfigError(
            f"The option file {str(path)!r} must be a file with the extension {', '.join(_ENDINGS)}."
        )
    try:
        text = read_text(path)
        values = parse_toml(text) if path.suffix.lower() == ".toml" else parse_yaml(text)
    except ConfigError as error:
        raise ConfigError(f"The option file {str(path)!r} {error}.") from None
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"The option file {str(path)!r} must contain keys and values, such as window: 2s."
        )
    return values
