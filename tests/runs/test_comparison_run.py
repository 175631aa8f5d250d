"""Which contenders a name stands for, and when two models are said to differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from peclip.data import DataConfig
from peclip.data.samples import Sample, Split
from peclip.errors import ConfigError
from peclip.labels import LabelSet
from peclip.metrics.prediction_table import PredictionTable
from peclip.metrics.scoring import score
from peclip.runs.comparison_config import ComparisonConfig, Contender, contenders_of
from peclip.runs.comparison_report import ComparisonReport, Failure
from peclip.runs.measured_contender import Cost, Measured, read_measured, write_measured
from peclip.runs.recipe import RunConfig
from peclip.runs.splits import RunSplits

LABELS = LabelSet(("still", "wave"))
COST = Cost(10, 1000, 0.5, 2.0, "cpu", "fp32")


@pytest.mark.parametrize(
    ("name", "training", "expected"),
    [
        ("debug", "none", ["clip:debug"]),
        ("lora:debug", "none", ["clip:debug"]),
        ("debug", "linear", ["clip:debug", "clip:debug"]),
        ("debug", "adapters", ["clip:debug", "debug"]),
        ("clip:debug", "adapters", ["clip:debug", "debug"]),
        ("lora:debug", "adapters", ["clip:debug", "lora:debug"]),
        ("finecliper:debug", "adapters", ["clip:debug", "finecliper:debug"]),
        ("debug", "lora", ["clip:debug", "lora:debug"]),
        ("nano", "adapters", ["nano", "nano"]),
        ("nano", "linear", ["nano", "nano"]),
    ],
)
def test_the_contenders_of_a_name(name: str, training: str, expected: list[str]) -> None:
    found = contenders_of(name, training)  # type: ignore[arg-type]
    assert [one.base for one in found] == expected
    assert [one.training for one in found] == ["none", training][: len(expected)]


@pytest.mark.parametrize("base", [".", "..", "x" * 300, "é" * 200, "a/b", "comparison.yaml", "a b"])
def test_every_contender_has_a_folder_inside(tmp_path: Path, base: str) -> None:
    name = Contender(base, "none").folder_name
    (tmp_path / name).mkdir()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert name not in (base, Contender(base + "/", "none").folder_name)


def test_fine_cliper_has_no_lora() -> None:
    with pytest.raises(ConfigError, match="finecliper"):
        contenders_of("finecliper:debug", "lora")


def config(**changes: object) -> ComparisonConfig:
    data = DataConfig(dataset="folder", root=Path("videos"))
    run = RunConfig(data=data, model=changes)
    return ComparisonConfig(models=("debug", "nano"), run=run)


def test_what_is_untrained_has_none_of_the_bricks() -> None:
    """Zero-shot and linear: only what concerns pixels and texts is kept of the changed fields."""
    changes = {"lora": {"rank": 2}, "num_frames": 8, "descriptions": "names", "prompt_length": 4}
    chosen = config(**changes)
    plain = chosen.run_of(Contender("clip:debug", "none")).model
    assert plain == {"num_frames": 8, "descriptions": "names"}
    assert chosen.run_of(Contender("clip:debug", "linear")).model == plain
    assert chosen.run_of(Contender("debug", "adapters")).model == changes
    assert chosen.run_of(Contender("lora:debug", "lora")).model == changes
    assert config().run_of(Contender("nano", "lora")).model == {"lora": {}}


def measured(base: str, right: int, count: int = 60) -> Measured:
    """The first videos are predicted correctly, the others as the other label."""
    targets = [LABELS.names[number % 2] for number in range(count)]
    own = np.eye(2)[[number % 2 for number in range(count)]]
    chosen = np.where(np.arange(count)[:, None] < right, own, own[:, ::-1])
    table = PredictionTable.most_likely(
        [str(n) for n in range(count)], targets, LABELS.names, chosen
    )
    return Measured(Contender(base, "none"), score(table, resamples=100), table, COST, {})


def report(*found: Measured | Failure, subjects: bool = False) -> ComparisonReport:
    samples = tuple(
        Sample(Path(str(n)), LABELS.names[n % 2], str(n), str(n // 30) if subjects else None)
        for n in range(60)
    )
    test = Split("folder", None, "test", samples, LABELS)
    train = test.with_samples(samples[:4], split="train")
    return ComparisonReport.of(config(), RunSplits(train, None, test), found)


def test_models_differ_only_beyond_chance() -> None:
    """Of 60 videos, 40 more are no chance, and 4 more may be: McNemar's p is 2 * 0.5 ** 4 = 0.125."""
    first, close, far = measured("a", 20), measured("b", 24), measured("c", 60)
    (said,) = report(first, close).verdicts
    assert "6.67 points above" in said
    assert said.endswith("neither is called better")
    assert report(first, close).rows[1].to_dict()["p_value"] == pytest.approx(0.125, abs=0.03)
    (said,) = report(first, close, far).verdicts
    assert "66.67 points above that of a" in said
    assert "corrected for 2 comparisons" in said
    assert said.endswith("they differ")
    (said,) = report(far, first, close).verdicts
    assert "the best of the others, b, is 60.00 points below that of c" in said
    assert "equal" in report(first, measured("d", 20)).verdicts[0]
    assert report(first).verdicts == []


def test_people_are_drawn_where_they_are_known() -> None:
    """Two people cannot show a difference: whole people are exchanged."""
    (said,) = report(measured("a", 0), measured("b", 60), subjects=True).verdicts
    assert said.endswith("neither is called better")


def test_a_failure_is_a_row_of_every_format(tmp_path: Path) -> None:
    failure = Failure(Contender("x|y", "linear"), "no such\nmodel", 2)
    found = report(measured("a", 60), failure)
    assert found.to_dict()["rows"][1]["error"] == "no such\nmodel"
    (line,) = (line for line in found.to_markdown().splitlines() if "failed" in line)
    assert "no such model" in line
    assert line.replace("\\|", "").count("|") == found.to_markdown().splitlines()[0].count("|")
    found.save(tmp_path / "t.csv")
    assert "no such" in (tmp_path / "t.csv").read_text()
    assert report(failure).flat_rows() == [
        {"base": "x|y", "training": "linear", "error": "no such\nmodel"}
    ]


def test_measurements_are_read_as_they_were_written(tmp_path: Path) -> None:
    one = measured("owner/model", 30)
    assert read_measured(tmp_path, one.contender) is None
    write_measured(tmp_path, one)
    again = read_measured(tmp_path, one.contender)
    assert again is not None
    assert again.report.to_dict() == one.report.to_dict()
    assert (again.cost, again.facts) == (one.cost, one.facts)
    assert again.table.labels == one.table.labels
    (path,) = tmp_path.rglob("none.json")
    path.write_text("{}")
    with pytest.raises(ConfigError, match="corrupt"):
        read_measured(tmp_path, one.contender)
