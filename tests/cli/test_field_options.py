"""Command options are generated from the fields of a configuration: default, range and help are defined once."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
import typer
import typer.main
from pydantic import Field
from typer.testing import CliRunner

from peclip.cli.app import app
from peclip.cli.field_options import FLAGS, TIMES, Fields, from_fields, seconds
from peclip.config import Config
from peclip.data.config import DataConfig
from peclip.predict_options import PredictOptions
from peclip.runs.evaluate_options import EvaluateOptions
from peclip.serving.limits import ServeOptions
from peclip.training.config import TrainConfig


class Kettle(Config, use_attribute_docstrings=True):
    litres: float = Field(1.5, gt=0, le=2_000)
    """Volume of
    the water."""
    lid: bool = True
    """Close the lid."""
    whistle: bool = False
    heat: Literal["low", "high"] = "low"
    window: float = 0.25
    cups: int | None = Field(None, ge=1)
    name: str


received: list[dict[str, Any]] = []


@pytest.fixture(autouse=True)
def _nothing_received() -> None:
    received.clear()


def command(fields: Fields) -> Any:
    """Returns a program that keeps what its group of fields receives."""

    def boil(*, kettle: dict[str, Any], times: int = 1) -> None:
        received.append(kettle | {"times": times})

    boil.__annotations__ |= {"kettle": Annotated[dict[str, Any], fields], "times": int}
    program = typer.Typer(add_completion=False)
    program.command()(from_fields(boil))
    return program


def run(fields: Fields, *arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(command(fields), arguments)
    assert result.exit_code == 0, result.output
    return received.pop()


def options(fields: Fields) -> dict[str, Any]:
    return {option.name: option for option in typer.main.get_command(command(fields)).params}


def test_defaults_and_types_are_those_of_the_fields() -> None:
    assert run(Fields(Kettle), "--name", "k") == {
        "litres": 1.5,
        "lid": True,
        "whistle": False,
        "heat": "low",
        "window": 0.25,
        "name": "k",
        "times": 1,
    }


def test_options_set_fields() -> None:
    arguments = (
        "--name k --litres 2 --no-lid --whistle --heat high --window 500ms --cups 3 --times 2"
    )
    assert run(Fields(Kettle), *arguments.split()) == {
        "litres": 2.0,
        "lid": False,
        "whistle": True,
        "heat": "high",
        "window": 0.5,
        "cups": 3,
        "name": "k",
        "times": 2,
    }


def test_a_field_without_default_is_required() -> None:
    assert CliRunner().invoke(command(Fields(Kettle)), []).exit_code == 2


def test_options_of_changes_have_no_default_and_are_optional() -> None:
    assert run(Fields(Kettle, changes=True)) == {"times": 1}
    assert run(Fields(Kettle, changes=True), "--heat", "low") == {"heat": "low", "times": 1}


def test_the_help_is_the_docstring_and_the_range() -> None:
    found = options(Fields(Kettle))
    assert found["litres"].help == "Volume of the water. Above 0, at most 2,000."
    assert found["lid"].help == "Close the lid."
    assert found["cups"].help == "At least 1."


def test_named_fields_alone_are_options_in_their_order() -> None:
    assert list(options(Fields(Kettle, "heat", "litres"))) == ["heat", "litres", "times"]
    rest = options(Fields(Kettle, without=("name", "window")))
    assert list(rest) == ["litres", "lid", "whistle", "heat", "cups", "times"]


@pytest.mark.parametrize(
    ("text", "value"), [("4", 4), ("4s", 4), ("500ms", 0.5), ("all", float("inf"))]
)
def test_times_are_seconds(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "s", "nan", "1h"])
def test_an_invalid_time_is_a_usage_error(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="500ms"):
        seconds(text)


@pytest.mark.parametrize(
    ("path", "config", "without"),
    [(["predict"], PredictOptions, set()), (["evaluate"], EvaluateOptions, {"labels"})],
)
def test_every_field_is_an_option_of_its_command(
    path: list[str], config: type[Config], without: set[str]
) -> None:
    found: Any = typer.main.get_command(app)
    for word in path:
        found = found.commands[word]
    names = {option.name for option in found.params}
    assert config.model_fields.keys() - without <= names


def test_special_flags_and_times_are_of_fields() -> None:
    """A renamed field would silently lose its flag."""
    known: set[str] = set()
    for config in (PredictOptions, EvaluateOptions, TrainConfig, DataConfig):
        known |= config.model_fields.keys()
    assert FLAGS.keys() <= known
    assert set(TIMES) <= PredictOptions.model_fields.keys() | ServeOptions.model_fields.keys()


def test_an_infinite_end_is_none() -> None:
    assert PredictOptions(end=float("inf")).end is None
