"""Command options generated from the fields of a configuration, which define default, range and help."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Annotated, Any, get_args

import annotated_types
import typer
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from peclip.config import Config

FLAGS = {
    "batch_size": ("-b", "--batch-size"),
    "frame_rate": ("--fps",),
    "resamples": ("--bootstrap",),
    "root": ("--data-root",),
    "workers": ("-j", "--workers"),
}
"""Flags by field, where they are not `--` and the field's name."""

TIMES = ("window", "hop", "start", "end", "max_gap", "stream_timeout", "keep")
"""Fields in seconds, which are given as a time such as 500ms."""

_TECHNICAL = 2**31
"""Limits from here on are those of a data type, which no help needs to say."""


class Fields:
    """Marks a parameter of a command, a `dict[str, Any]`, that receives fields of a configuration.

    Args:
        config: the configuration.
        names: the fields, in the order of the help; by default all.
        without: fields that are no options.
        changes: whether the options change values that stand elsewhere, such as in a recipe. They then have no
            defaults, and none of them is required.
    """

    def __init__(
        self,
        config: type[Config],
        *names: str,
        without: tuple[str, ...] = (),
        changes: bool = False,
    ) -> None:
        self._changes = changes
        self._fields = {
            name: config.model_fields[name]
            for name in names or config.model_fields
            if name not in without
        }

    def options(self) -> Iterator[inspect.Parameter]:
        """Yields a parameter for typer per field."""
        for name, field in self._fields.items():
            default = _default(name, field, changes=self._changes)
            kind = field.annotation | None if default is None else field.annotation  # type: ignore[operator]
            yield inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=default,
                annotation=Annotated[kind, self._option(name, field)],
            )

    def take(self, values: dict[str, Any]) -> dict[str, Any]:
        """Removes the values of the fields from those of a command, and returns the ones that were given."""
        taken = {name: values.pop(name, None) for name in self._fields}
        return {name: value for name, value in taken.items() if value is not None}

    def _option(self, name: str, field: FieldInfo) -> Any:
        flags = FLAGS.get(name, (_long(name),))
        switch = field.annotation is bool and field.default and not self._changes
        if switch or field.annotation == bool | None:
            flags = (f"{flags[0]}/--no-{flags[0].removeprefix('--')}",)
        as_time = {"parser": seconds, "metavar": "TIME"} if name in TIMES else {}
        shown = self._changes and field.default not in (None, False, PydanticUndefined)
        return typer.Option(
            *flags,
            help=_help(field),
            show_default=f"from the recipe, otherwise {field.default}" if shown else True,
            **as_time,  # type: ignore[arg-type]
        )


def flag_of(name: str) -> str:
    """Returns the long flag of a field, such as `--data-root`."""
    return FLAGS.get(name, (_long(name),))[-1]


def _long(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def from_fields(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command an option per field in place of every parameter that `Fields` marks."""
    groups: dict[str, Fields] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        marks = [mark for mark in get_args(parameter.annotation) if isinstance(mark, Fields)]
        if marks:
            (groups[parameter.name],) = marks
            parameters += marks[0].options()
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    @wraps(command)
    def run(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group.take(values)
        command(**values)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def seconds(text: str) -> float:
    """Reads `4`, `4s`, `500ms` or `all` as seconds."""
    word = text.strip().lower()
    if word == "all":
        return math.inf
    unit = 0.001 if word.endswith("ms") else 1.0
    try:
        value = float(word.removesuffix("ms").removesuffix("s")) * unit
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise typer.BadParameter(
            f"Invalid duration {text!r}: use seconds or milliseconds, such as 4, 4s or 500ms."
        )
    return value


def _default(name: str, field: FieldInfo, *, changes: bool) -> Any:
    """Returns the default of an option; `inspect.Parameter.empty` if it is required."""
    if changes or field.default_factory is not None:
        return None
    if field.is_required():
        return inspect.Parameter.empty
    if name in TIMES and field.default is not None:
        return f"{field.default:g}s"  # typer parses a default as it parses a value
    return field.default


def _help(field: FieldInfo) -> str:
    """Returns the docstring of a field, followed by its range."""
    return " ".join([*(field.description or "").split(), *_range(field)])


def _range(field: FieldInfo) -> list[str]:
    """Returns the range of a field as a sentence, or nothing."""
    bounds = {type(bound): bound for bound in field.metadata}
    low, above = bounds.get(annotated_types.Ge), bounds.get(annotated_types.Gt)
    high, below = bounds.get(annotated_types.Le), bounds.get(annotated_types.Lt)
    if low is not None and high is not None:
        return [f"From {low.ge:,} to {high.le:,}."]
    words = [f"at least {low.ge:,}"] if low is not None else []
    words += [f"above {above.gt:,}"] if above is not None else []
    words += [f"at most {high.le:,}"] if high is not None else []
    words += [f"below {below.lt:,}"] if below is not None and below.lt < _TECHNICAL else []
    return [f"{', '.join(words).capitalize()}."] if words else []
