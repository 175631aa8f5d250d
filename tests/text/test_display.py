"""Text from outside is shown without control characters, on a terminal, in a picture, in Markdown."""

from __future__ import annotations

from pathlib import Path

import pytest

from peclip.cli import console
from peclip.config import check
from peclip.errors import ConfigError
from peclip.labels import LabelSet, check_text
from peclip.models.pe_clip_config import PEClipConfig
from peclip.results.prediction import Prediction
from peclip.results.rows import Row
from peclip.text.display import (
    MAX_SHOWN,
    abridged,
    columns,
    markdown,
    one_line,
    printable,
    shortened,
    shortened_inside,
    wrapped,
)

ESCAPE = "\x1b[31mred\x1b]0;pwn\x07\x1b[2J"
HOSTILE = (ESCAPE, "\ud800x", "a\nb", "\u202eevil", "$\\frac{1}$", "[bold]x[/]", "<b>|`x`</b>")


def row(label: str) -> Row:
    return Row(
        source=f"{ESCAPE}.mp4",
        model="m\udcff",
        model_revision="",
        track_id=1,
        window=0,
        start_s=0.0,
        end_s=1.0,
        start_frame=0,
        end_frame=9,
        num_frames_used=4,
        n_faces=1,
        status="ok",
        label=label,
        score=0.75,
        scores={label: 0.75, "other": 0.25},
    )


def prediction(label: str) -> Prediction:
    return Prediction(f"{ESCAPE}\udcff.mp4", (label, "other"), (row(label),))


def test_escapes() -> None:
    assert printable("plain  text") == "plain  text"
    assert printable("\x1b[2J\ud800\u202e\t") == "\\x1b[2J\\ud800\\u202e\\t"
    assert one_line("a\n\n b\x07") == "a b\\x07"
    assert shortened("abcdef", 4) == "abc…"
    assert shortened_inside("abcdefg", 5) == "ab…fg"
    assert shortened_inside("abcde", 5) == "abcde"


def test_east_asian_letters_take_two_columns() -> None:
    assert [columns(text) for text in ("fear", "喜び", "e\u0301")] == [4, 4, 1]
    assert shortened("喜び悲しみ", 7) == "喜び悲…"
    assert shortened_inside("喜び悲しみ", 9) == "喜び…しみ"
    assert wrapped("an anger 喜び悲しみ x", 5) == ["an", "anger", "喜び", "悲し", "み x"]
    assert wrapped(" \n ", 5) == []


def test_a_long_message_keeps_its_beginning_and_its_remedy() -> None:
    text = f"The value {'9' * 5000!r} is invalid. Correct the line."
    shown = abridged(text)
    assert len(shown) <= MAX_SHOWN
    assert shown.startswith("The value '999")
    assert shown.endswith("999' is invalid. Correct the line.")
    assert abridged("x" * MAX_SHOWN) == "x" * MAX_SHOWN


def test_markdown_shows_text_as_it_is() -> None:
    assert markdown("<script>|`a`|*b*\n[x](y)") == "&lt;script&gt;\\|\\`a\\`\\|\\*b\\* \\[x\\](y)"
    assert markdown("low_quality") == "low_quality"


@pytest.mark.parametrize("label", HOSTILE)
def test_nothing_reaches_a_terminal_unescaped(
    label: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table = console.RowTable(2)
    table.write_row(row(label))
    table.end_source(prediction(label))
    console.print_table(["label", "n"], [[label, "  1"]])
    console.note(label)
    console.error(label)
    told = capsys.readouterr()
    lines = [*told.out.split("\n"), *told.err.split("\n")]
    assert all(line.isprintable() for line in lines)
    assert (len(told.out.splitlines()), len(told.err.splitlines())) == (6, 2)
    assert one_line(label) in told.out
    (told.out + told.err).encode()


@pytest.mark.parametrize("label", HOSTILE)
@pytest.mark.parametrize("ending", ["csv", "jsonl", "json", "parquet"])
def test_any_label_can_be_saved(label: str, ending: str, tmp_path: Path) -> None:
    """Labels are checked when a model is loaded, but a `Prediction` may be made by hand."""
    if ending == "parquet":
        pytest.importorskip("pyarrow")
        if "\ud800" in label:
            label = label.replace("\ud800", "")
    path = tmp_path / f"rows.{ending}"
    prediction(label).save(path)
    path.read_text(encoding="utf-8") if ending != "parquet" else None
    assert path.stat().st_size


@pytest.mark.parametrize("label", HOSTILE)
def test_any_label_can_be_drawn(label: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from peclip.metrics.confusion import ConfusionMatrix
    from peclip.metrics.plots import plot_confusion
    from peclip.metrics.report import Report
    from peclip.results.figures import save_figure

    report = Report.of(ConfusionMatrix.of([label, "b"], [label, "b"], [label, label]), resamples=0)
    for name, figure in (
        ("a", prediction(label).plot()),
        ("b", plot_confusion(report, title=label)),
    ):
        save_figure(figure, tmp_path / f"{name}.svg")


def test_a_plot_of_too_many_classes_is_an_error() -> None:
    pytest.importorskip("matplotlib")
    from peclip.metrics.confusion import ConfusionMatrix
    from peclip.metrics.plots import plot_confusion
    from peclip.metrics.report import Report

    names = [f"class {number}" for number in range(101)]
    report = Report.of(ConfusionMatrix.of(names, names, names), resamples=0)
    with pytest.raises(ConfigError, match="at most 100 classes; there are 101"):
        plot_confusion(report)


@pytest.mark.parametrize("name", [ESCAPE, "\ud800x", "a\nb", "a\u2028b", "\0", "a" * 201])
def test_a_label_that_cannot_be_written_is_an_error(name: str) -> None:
    with pytest.raises(ConfigError) as error:
        LabelSet((name, "b"))
    assert printable(str(error.value)) == str(error.value)
    assert len(str(error.value)) < 300
    with pytest.raises(ConfigError):
        check(PEClipConfig, {"labels": (name, "b")})


@pytest.mark.parametrize(
    "name", ["überrascht", "驚き", "👨‍👩‍👧", "می‌خواهم", "low_mood", "=1+1", "$x$"]
)
def test_labels_of_all_languages(name: str) -> None:
    assert LabelSet((name, "b")).names == (name, "b")


def test_a_text_of_a_label_is_checked() -> None:
    labels = ("a", "b")
    assert PEClipConfig(labels=labels, label_texts={"a": "two\nlines"}).label_texts["a"]
    for text in ("\ud800", "\x1b[2J", "x" * 10_001):
        with pytest.raises(ConfigError):
            check(PEClipConfig, {"labels": labels, "label_texts": {"a": text}})


def test_the_names_of_a_label_set_are_bounded() -> None:
    with pytest.raises(ConfigError, match="at most 1,000 names; got 100,000"):
        LabelSet(tuple(map(str, range(100_000))))
    with pytest.raises(ConfigError, match="has 201 characters; use at most 200"):
        check_text("The name", "x" * 201, limit=200)
